"""What a GPU can show, in at most ten minutes: the most valuable part first, each with a time limit of its own.

    python benchmarks/gpu_report.py --out report             # one GPU
    python benchmarks/gpu_report.py --out report --tiny      # tries every part out on a CPU, at sizes that say nothing

Every part is a process of its own, whose output goes to OUT/PART.txt as it comes. After every part OUT/report.md is
written again, with the name of the card; a part that fails or runs out of time keeps no other from running. The exit
code is 1 if a part failed.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

ROOT = Path(__file__).parents[1]
TRAINED = ("pretrain", "distill", "masked", "joint")
GRACE = 10.0
"""Seconds between asking a part to stop and killing it."""


@dataclass(frozen=True)
class Part:
    """Something to measure.

    Args:
        name: of its output file.
        what: heading in the report.
        seconds: time limit; less where less is left.
        command: a program with its arguments.
    """

    name: str
    what: str
    seconds: float
    command: Sequence[str]


@dataclass(frozen=True)
class Outcome:
    """What became of a part."""

    part: Part
    state: str
    """`finished`, `failed (exit code N)`, `stopped at its limit` or `left out: no time left`."""
    seconds: float


def planned_parts(out: Path, *, tiny: bool) -> list[Part]:
    """The parts in the order of their value.

    Args:
        out: folder of the results; the workflow's run lies there.
        tiny: on a CPU, at sizes for trying out.
    """
    device = "cpu" if tiny else "cuda"
    rounds = "1" if tiny else "3"
    step = ["training_step.py", "--device", device, "--no-search", "--rounds", rounds, "--repeats", rounds]
    step += ["--size", "small"] if tiny else ["--size", "full", "--perceptual", "vgg19"]
    masks = ["mask_engine.py", "--device", device, "--rounds", "1"]
    masks += ["--windows", "1", "--size", "64", "--threads", "1"] if tiny else ["--windows", "8"]
    kernels = ["attention_kernels.py", "--device", device, "--size", "small" if tiny else "full", "--rounds", rounds]

    def benchmark(name: str, what: str, seconds: float, arguments: Sequence[str]) -> Part:
        script, *options = arguments
        return Part(name, what, seconds, [sys.executable, str(ROOT / "benchmarks" / script), *options])

    own = [sys.executable, str(Path(__file__).resolve()), "--out", str(out), *(["--tiny"] if tiny else [])]
    single = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    return [
        Part("rates", "Matrix products", 45, [*own, "--part", "rates"]),
        benchmark("step", "A pretraining step against the released practice", 150, step),
        *(
            benchmark(f"masks-{size}", f"Mask engine, ViT of size {size}", 90, [*masks, "--backbone", size])
            for size in (("tiny",) if tiny else ("base", "large"))
        ),
        benchmark("kernels", "Attention kernels", 60, kernels),
        Part("processes", "One process under torchrun", 60, [own[0], *single, *own[1:], "--part", "processes"]),
        benchmark("compiled", "The step with torch.compile", 150, [*step, "--levers", "compile"]),
        Part("workflow", "Every stage of the workflow", 600, workflow(out, tiny=tiny)),
    ]  # fmt: skip


def workflow(out: Path, *, tiny: bool) -> list[str]:
    """The call of Snakemake on a configuration written below `out`: all stages, a few steps each."""
    source = ROOT / ("tests/resources/tiny.yaml" if tiny else "config/embedded-gpu.yaml")
    config: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    if not tiny:
        for split in config["data"]["embedded"]["splits"].values():
            split["scenes"] = 24
        for stage in TRAINED:
            config[stage] |= {"steps": 20, "warmup": 5, "save_every": 20, "log_every": 5}
            config[stage].pop("crop_pretext", None)
        config["distill"]["psnr_filter"] = 5.0  # twenty steps train no renderer
        config["benchmark"]["ablations"] = []
    path = out / "workflow.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(out / "run")]
    return [*call, "--cores", str(os.cpu_count()), "--configfile", str(path), "--", "all"]


def run(part: Part, out: Path, *, left: float) -> Outcome:
    """Run a part for at most its own limit and the time left; its output is written while it runs."""
    limit = min(part.seconds, left)
    if limit <= 0:
        return Outcome(part, "left out: no time left", 0.0)
    begun = time.monotonic()
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    with (out / f"{part.name}.txt").open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            part.command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
        try:
            code = process.wait(limit)
            state = "finished" if code == 0 else f"failed (exit code {code})"
        except subprocess.TimeoutExpired:
            state = "stopped at its limit"
        finally:
            _end(process)
    return Outcome(part, state, time.monotonic() - begun)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of a part's process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write_report(out: Path, outcomes: Sequence[Outcome]) -> None:
    """OUT/report.md from all parts so far."""
    card = "CPU, tiny sizes: not a measurement"
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        card = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
    lines = [f"# {card}", "", f"torch {torch.__version__}, {os.cpu_count()} CPU cores", ""]
    for outcome in outcomes:
        lines += [f"## {outcome.part.what}", "", f"{outcome.state}, {outcome.seconds:.0f} s", ""]
        file = out / f"{outcome.part.name}.txt"
        if file.is_file():
            lines += ["```", file.read_text(encoding="utf-8", errors="replace").rstrip(), "```", ""]
    (out / "report.md").write_text("\n".join(lines), encoding="utf-8")


def rates(device: str) -> None:
    """Print the rates of matrix products that the plan assumes, and their share of the data sheet."""
    from wildrayzer.tools.planning.machine import GPUS, matmul_rate

    name = torch.cuda.get_device_name() if device == "cuda" else ""
    sheet = next((one.bfloat16 for key, one in GPUS.items() if key in name.lower()), None)
    # A CPU without instructions for bfloat16 would take minutes.
    measured = {"bfloat16": matmul_rate(device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)}
    for precision, setting in (("tf32", "high"), ("float32", "highest")):
        torch.set_float32_matmul_precision(setting)
        measured[precision] = matmul_rate(device=device)
    for precision, rate in measured.items():
        share = "" if sheet is None else f", {rate / sheet:.1%} of the stated bfloat16 rate"
        print(f"{precision:<10} {rate / 1e12:8.3g} TFLOP/s, {rate / measured['bfloat16']:.3f} of bfloat16{share}")


def processes(device: str) -> None:
    """Sum a tensor over the processes of a group (nccl or gloo), and take steps of a small network under DDP."""
    import torch.distributed as dist

    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    values = torch.ones((1 << 28 if device == "cuda" else 1 << 16), device=device)
    dist.all_reduce(values)
    begun = time.perf_counter()
    for _ in range(5):
        dist.all_reduce(values)
    expected = float(dist.get_world_size() ** 6)
    print(f"{dist.get_backend()}, {dist.get_world_size()} process(es): sum of {values.numel() * 4 / 1e6:.3g} MB, "
          f"right: {bool((values == expected).all())}, {(time.perf_counter() - begun) / 5 * 1e3:.2f} ms")  # fmt: skip
    layer = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64).to(device))
    layer(torch.ones(8, 64, device=device)).sum().backward()
    print(f"gradient of a layer under DDP: {layer.module.bias.grad.unique().tolist()}, expected [8.0]")
    dist.destroy_process_group()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--seconds", type=float, default=590.0, help="time for everything")
    parser.add_argument("--tiny", action="store_true", help="on a CPU, at tiny sizes")
    parser.add_argument("--patience", type=float, default=1.0, help="factor of all time limits, on a busy machine")
    parser.add_argument("--only", nargs="*", metavar="PART", help="names of parts; by default all")
    parser.add_argument("--part", choices=("rates", "processes"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part is not None:
        {"rates": rates, "processes": processes}[given.part]("cpu" if given.tiny else "cuda")
        return 0
    # Stopped from outside, it still ends the part that runs.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    begun = time.monotonic()
    given.out.mkdir(parents=True, exist_ok=True)
    parts = planned_parts(given.out.resolve(), tiny=given.tiny)
    names = [part.name for part in parts]
    if unknown := sorted(set(given.only or ()) - set(names)):
        parser.error(f"--only {' '.join(unknown)}: no such part; choose from {', '.join(names)}")
    outcomes: list[Outcome] = []
    for part in parts:
        if given.only and part.name not in given.only:
            continue
        patient = replace(part, seconds=part.seconds * given.patience)
        outcomes.append(run(patient, given.out, left=given.seconds * given.patience - (time.monotonic() - begun)))
        print(f"{part.name}: {outcomes[-1].state}, {outcomes[-1].seconds:.0f} s", flush=True)
        write_report(given.out, outcomes)
    return int(any(one.state.startswith("failed") for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
