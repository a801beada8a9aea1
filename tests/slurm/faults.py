"""The fault table: what is killed, filled up or damaged, how often, and how it ended.

    .venv/bin/python -m tests.slurm.faults --out docs/faults.md

All of it takes about an hour on two cores. What has been seen is kept in the working folder, so that a call that was
ended goes on where it was, and a part can be made again with --again.
"""

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.slurm import cluster_faults, damage, jobs, kills, loopback
from tests.slurm.run import ROOT, TINY

STAGES = ("sources", "frames", "pretrain", "residuals", "pseudo_masks", "refine", "distill", "masked", "joint",
          "unmasked", "benchmark", "benchmark_masks", "tables", "report")  # fmt: skip
Row = dict[str, str]
"""Columns `fault`, `times` and `result`; `ok` is "yes", "no" or "not reached"."""
HEAD = """\
# Faults

What happens when jobs, nodes, Snakemake or files die: made by `python -m tests.slurm.faults --out docs/faults.md` on
the tiny configuration of the tests, with the loopback cluster of `tests/slurm/`. "Same" means that the files that the
stage declares are byte-identical to those of an undisturbed run, apart from fields that hold times or the step at which
a run was taken up (`seconds`, `samples_per_second`, `time`, `resumed_from`; the date in the report), and `made_from`,
which holds the absolute path of the raw files. Logs and Snakemake's benchmark files are not compared.

- *SIGKILL in RULE*: a job of the rule, in a process of its own with the modules loaded, is killed at moments drawn
  evenly from the length of an undisturbed try, run again and compared; two times of three a second kill meets what the
  first has left.
- *SIGKILL under Snakemake*: the same through Snakemake's local executor, the last two kills with Snakemake itself.
- *damaged*: a random file of the artefact is cut at a random place, or a random bit of it turned; *named*: what reads
  it refuses it by its path; *harmless*: all that is read is unchanged.
- The rest is done to a training job on the loopback cluster; its weights and figures are compared with those of the
  same training without a cluster.
"""
TAIL = """\
## Not reached

- A real power cut: files that `rename` has put in place but the disk has not. Weights, states, manifests and scores are
  flushed before the rename; shards of frame stores and caches are left to the file system.
- Network file systems: two clients with different views of one file. The profile's `latency-wait` is all there is.
- GPUs that hang or fail in mid-job, and NCCL time-outs: there is no GPU on the test machine.
- A full disk itself needs a file system of its own; the limit on the size of a file fails the same write calls.
- Damage in a CSV of scores, a JSON report or a raw file that keeps it readable: these have no checksum.
"""


def main() -> int:
    """Make the rows asked for and write the table."""
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    book = options.work / "rows.json"
    rows: dict[str, Row] = json.loads(book.read_text()) if book.exists() else {}
    for key, make in _parts(options):
        if (options.only and not key.startswith(options.only)) or (key in rows and not options.again):
            continue
        rows[key] = row = make()
        sys.stderr.write(f"{key}: {row['times']}, {row['result']}\n")
        book.write_text(json.dumps(rows, indent=2, ensure_ascii=False))
    text = table(rows, [key for key, _ in _parts(options) if key not in rows])
    (Path(options.out).write_text if options.out else sys.stdout.write)(text)
    return any(row["ok"] == "no" for row in rows.values())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "wildrayzer-faults")
    parser.add_argument("--out", help="file of the table; without it, the terminal")
    parser.add_argument("--kills", type=int, default=10, help="kills of each rule's job")
    parser.add_argument("--damages", type=int, default=40, help="damages of each kind for each artefact")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="rows whose name starts with this text")
    parser.add_argument("--again", action="store_true", help="make rows anew that are known")
    return parser.parse_args()


def _parts(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Row]]]:
    for rule in _rules():
        yield f"job {rule}", lambda rule=rule: _job(rule, options)
    for stage in kills.STAGES:
        yield f"snakemake {stage.name}", lambda stage=stage: _kill(stage, options)
    for artefact in damage.ARTEFACTS:
        yield f"damage {artefact.name}", lambda artefact=artefact: _damage(artefact, options)
    yield "disk full while saving", lambda: _disk_full(options)
    for name in cluster_faults.CASES:
        yield f"cluster: {name}", lambda name=name: _cluster(name, options)


def _reference(options: argparse.Namespace, *, until: jobs.Job | None = None) -> Path:
    """An undisturbed run, up to a job or of everything, made by the jobs themselves, each in a process of its own."""
    folder: Path = options.work / "reference"
    planned = _planned(options)
    before = Path.cwd()
    os.chdir(folder)
    for job in planned:
        if not all(Path(name).exists() for name in job.given.output):
            job.run()
        if job is until:
            break
    os.chdir(before)
    return folder


def _planned(options: argparse.Namespace) -> list[jobs.Job]:
    if not hasattr(options, "planned"):
        jobs.import_all()
        options.planned = jobs.load_jobs(options.work / "reference", configs=[TINY], targets=["all"])
    planned: list[jobs.Job] = options.planned
    return planned


def _rules() -> list[str]:
    """Rules of the workflow that run a script, in the order of the data; those of ablations are the same again."""
    texts = [(ROOT / "workflow" / "rules" / f"{name}.smk") for name in STAGES]
    return [rule for text in texts for rule in re.findall(r"^ *rule (\w+):", text.read_text(), re.MULTILINE)]


def _job(rule: str, options: argparse.Namespace) -> Row:
    mine = [job for job in _planned(options) if job.rule == rule]
    if not mine:
        return {"fault": f"SIGKILL in {rule}", "times": "0", "result": "no job of the tiny run", "ok": "not reached"}
    job = max(mine, key=lambda one: "dynamic_train" in str(one.given.output))
    reference, here = _reference(options, until=job), options.work / "killed"
    jobs.remove(here)
    shutil.copytree(reference, here, symlinks=True)
    before = Path.cwd()
    os.chdir(here)
    states = [state] if (state := job.given.params.get("state")) else []
    seen = jobs.disturb(
        job, reference, kills=options.kills, states=states, chosen=random.Random(f"{options.seed}-{rule}")
    )
    os.chdir(before)
    result = f"differs: {', '.join(seen.wrong[:3])}" if seen.wrong else "same"
    return {"fault": f"SIGKILL in {rule}", "times": str(seen.killed), "result": result, "ok": _word(not seen.wrong)}


def _kill(stage: kills.Stage, options: argparse.Namespace) -> Row:
    run = kills.KilledRun(_reference(options), options.work / "killed", stage, seed=options.seed)
    seen = run.disturb(options.kills)
    times = f"{seen.killed - seen.whole} jobs, {seen.whole} with Snakemake"
    result = f"differs: {', '.join(seen.wrong)}" if seen.wrong else "same"
    return {
        "fault": f"SIGKILL under Snakemake, {stage.name}",
        "times": times,
        "result": result,
        "ok": _word(not seen.wrong),
    }


def _damage(artefact: damage.Artefact, options: argparse.Namespace) -> Row:
    counts = damage.damage(_reference(options), options.work, artefact, times=options.damages, seed=options.seed)
    words = [f"{kind}: {', '.join(f'{n} {what}' for what, n in sorted(c.items()))}" for kind, c in counts.items()]
    fine = all(set(count) <= {"named", "harmless"} for count in counts.values())
    times = f"{options.damages} cut, {options.damages} flipped"
    return {"fault": f"{artefact.name} damaged", "times": times, "result": "; ".join(words), "ok": _word(fine)}


def _prepared(options: argparse.Namespace) -> tuple[Path, Path]:
    frames, reference = options.work / "frames", options.work / "trained"
    cluster_faults.prepare(frames, reference)
    return frames, reference


def _disk_full(options: argparse.Namespace) -> Row:
    seen, wrong = cluster_faults.disk_full(*_prepared(options), options.work / "full")
    return {
        "fault": "disk full while saving a state",
        "times": "1",
        "result": _result(seen, wrong),
        "ok": _word(not wrong),
    }


def _cluster(name: str, options: argparse.Namespace) -> Row:
    if reason := loopback.missing():
        return {"fault": name, "times": "0", "result": f"no Slurm here ({reason})", "ok": "not reached"}
    frames, reference = _prepared(options)
    with tempfile.TemporaryDirectory(prefix="slurm") as place, loopback.loopback_cluster(Path(place)) as cluster:
        seen, wrong = cluster_faults.play(
            name, cluster=cluster, frames=frames, reference=reference, folder=options.work / "cluster"
        )
    return {"fault": name, "times": "1", "result": _result(seen, wrong), "ok": _word(not wrong)}


def _result(seen: str, wrong: list[str]) -> str:
    return f"{seen}; differs: {', '.join(wrong[:3])}" if wrong else f"{seen}; same"


def _word(fine: bool) -> str:
    return "yes" if fine else "no"


def table(rows: dict[str, Row], not_made: list[str]) -> str:
    """The document."""
    holding = sum(row["ok"] == "yes" for row in rows.values())
    lines = [HEAD, f"{holding} of {len(rows)} rows hold.", ""]
    lines += ["| fault | times | seen | holds |", "| --- | --- | --- | --- |"]
    lines += [f"| {row['fault']} | {row['times']} | {row['result']} | {row['ok']} |" for row in rows.values()]
    lines += ["", f"Rows not made yet: {', '.join(not_made)}."] if not_made else []
    return "\n".join([*lines, "", TAIL])


if __name__ == "__main__":
    sys.exit(main())
