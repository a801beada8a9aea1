"""Resources of a cluster against requests of jobs, how processes are started, and that a job runs once."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wildrayzer.config import ComputeConfig
from wildrayzer.run.layout import RunLayout
from wildrayzer.run.logs import job_log
from wildrayzer.run.origins import foreign_caches
from wildrayzer.tools.cluster.leftover_jobs import CALLS, cancel_left_over
from wildrayzer.tools.cluster.resources import JobRequest, parse_partitions, read_partitions, unschedulable
from wildrayzer.training.launch import address_of, run_processes, slurm_hosts, without_step

SINFO = """\
gpu*|2|64|512000|gpu:h100:8(S:0-1)|h100,ib|2-00:00:00
gpu*|4|32|256000|gpu:a100:4,gpu:mig:7|a100|2-00:00:00
cpu|10|128|1000000+|(null)|(null)|infinite
short|1|8|64000|gpu:2|(null)|30:00
"""
PARTITIONS = parse_partitions(SINFO)
RESOURCES = {"slurm_partition": "gpu", "nodes": 1, "gpu": 8, "gpu_model": "h100", "mem_mb": 128_000, "runtime": 1440}


def faults(**changes):
    threads = changes.pop("threads", 16)
    return unschedulable([JobRequest.of_job("train", {**RESOURCES, **changes}, threads=threads)], PARTITIONS)


def test_sinfo_is_read():
    gpu, cpu, short = (PARTITIONS[name] for name in ("gpu", "cpu", "short"))
    assert (gpu.is_default, cpu.is_default) == (True, False)
    assert [group.gpus for group in gpu.groups] == [{"h100": 8}, {"a100": 4, "mig": 7}]
    assert (gpu.max_minutes, cpu.max_minutes, short.max_minutes) == (2880, float("inf"), 30)
    assert (cpu.groups[0].memory_mb, short.groups[0].gpus) == (1_000_000, {"": 2})
    assert gpu.groups[0].features == {"h100", "ib"}


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", {}),
        ("gpu:4", {"": 4}),
        ("gpu(S:0-1)", {"": 1}),
        ("gpu:2080ti:4", {"2080ti": 4}),
        ("gpu:3090:4(S:0,1)", {"3090": 4}),
        ("gpu:1g.10gb:7", {"1g.10gb": 7}),
        ("gpu:a100:no_consume:4", {"a100": 4}),
        ("gpu:no_consume:4", {"": 4}),
        ("shard:8,gpu:nvidia_a100-sxm4-80gb:2(IDX:0-1),gpu:l40s:1,gpu:l40s:2", {"nvidia_a100-sxm4-80gb": 2, "l40s": 3}),
    ],
)
def test_gpus_of_a_node_are_read_whatever_their_name(gres, gpus):
    output = f"gpu*|1|8|64000|{gres}|(null)|1:00"
    assert parse_partitions(output)["gpu"].groups[0].gpus == gpus


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gpu": 0, "gpu_model": None, "slurm_partition": "cpu", "runtime": 99_999},
        {"gpu": 0, "gpu_model": "h100", "slurm_partition": "cpu"},
        {"gpu": 2, "gpu_model": None, "slurm_partition": "short", "runtime": 30, "mem_mb": 1000, "threads": 8},
        {"slurm_partition": None},
        {"nodes": 2, "gpu": None, "gpu_model": None, "gres": "gpu:h100:8"},
        {"nodes": 2, "gpu": None, "gpu_model": None, "gres": "gpu:8"},
        {"constraint": "ib"},
        {"constraint": "[a&b]"},
    ],
)
def test_jobs_that_fit_are_let_through(changes):
    assert faults(**changes) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"slurm_partition": "gpuu"},
            "slurm_partition = 'gpuu' is not on this cluster (cpu, gpu, short); edit slurm/c",
        ),
        (
            {"gpu": 9},
            "asks for 9 GPUs of model h100 on one node, the nodes of partition gpu have at most 8; change comp",
        ),
        ({"gpu_model": "b200"}, "asks for 8 GPUs of model b200 on one node, the nodes of partition gpu have at most 0"),
        ({"nodes": 3, "gpu": 24}, "asks for 3 nodes, partition gpu has fewer nodes that are large enough"),
        ({"nodes": 2, "gpu": None, "gpu_model": None, "gres": "gpu:h100:9"}, "asks for 9 GPUs of model h100"),
        ({"mem_mb": 600_000}, "asks for 600000 MB of memory on one node"),
        ({"mem_mb": 300_000, "gpu_model": "a100", "gpu": 4}, "have at most 256000; change mem_mb under set-resources"),
        ({"threads": 65}, "asks for 65 CPUs on one node"),
        ({"runtime": 2881}, "runtime = 2881 minutes is over the 2880 of partition gpu"),
        ({"constraint": "h200"}, "no node of partition gpu has the feature 'h200'"),
    ],
)
def test_jobs_that_can_never_run_are_named(changes, message):
    (line,) = faults(**changes)
    assert line.startswith("train: ")
    assert message in line


def test_alike_jobs_are_named_once():
    jobs = [JobRequest.of_job("part", {**RESOURCES, "gpu": 9}, threads=1)] * 16
    assert len(unschedulable(jobs, PARTITIONS)) == 1


def stand_in(folder, monkeypatch, **scripts):
    """Commands of Slurm that print given lines."""
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_without_a_controller_nothing_is_submitted(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, sinfo="echo Unable to contact slurm controller >&2; exit 1")
    with pytest.raises(ValueError, match=r"sinfo does not answer \(Unable to contact .* login node"):
        read_partitions()


KILLED, LIVE, THIS, UNKNOWN = (f"wildrayzer_{digit * 8}-1111-2222-3333-{digit * 12}" for digit in "abcd")
HOLD = """
import sys
from pathlib import Path
from wildrayzer.io.locks import acquire
lock = acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A queue of `ID|NAME|FOLDER` lines, and a call that lives in the folder."""
    file, calls = tmp_path / "queue", tmp_path / CALLS
    calls.mkdir(parents=True)
    (calls / KILLED).touch()
    stand_in(
        tmp_path, monkeypatch,
        squeue=f"cat {file}",
        scancel=f'echo "$@" > {tmp_path}/cancelled; for job in "$@"; do grep -vF "$job|" {file} > {file}.new; '
        f"mv {file}.new {file}; done",
    )  # fmt: skip
    command = [sys.executable, "-c", HOLD, str(calls / LIVE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdout.readline() == b"held\n"
        yield file
        living.stdin.close()


def test_jobs_that_a_killed_call_left_here_are_cancelled_and_no_others(tmp_path, queue):
    here = [f"7|{KILLED}", f"5_[2-4]|{KILLED}", f"8|{LIVE}", "9|other", "10|wildrayzer-main"]
    queue.write_text("".join(f"{row}|{tmp_path}\n" for row in here) + f"11|{KILLED}|/elsewhere\n")
    assert cancel_left_over(tmp_path, THIS) == ["7", "5_[2-4]"], "5_[2-4] are tasks of an array that have not started"
    assert (tmp_path / "cancelled").read_text() == "7 5_[2-4]\n"
    assert sorted(path.name for path in (tmp_path / CALLS).iterdir()) == [LIVE, THIS]
    assert cancel_left_over(tmp_path, THIS) == []


def test_jobs_of_which_nobody_knows_the_call_are_refused(tmp_path, queue):
    queue.write_text(f"7|{KILLED}|{tmp_path}\n12|{UNKNOWN}|{tmp_path}\n")
    with pytest.raises(ValueError, match="jobs 12 of this directory are in the queue, and it is unknown whether"):
        cancel_left_over(tmp_path, THIS)
    assert not (tmp_path / "cancelled").exists()


def test_jobs_that_do_not_end_are_reported(tmp_path, queue, monkeypatch):
    stand_in(tmp_path, monkeypatch, scancel="true")
    queue.write_text(f"7|{KILLED}|{tmp_path}\n")
    with pytest.raises(ValueError, match="jobs 7 of an earlier call do not end"):
        cancel_left_over(tmp_path, THIS, seconds=0.0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"gpus": 4, "gpus_per_node": 8}, (4, 1)),
        ({"gpus": 8, "gpus_per_node": 8}, (8, 1)),
        ({"gpus": 16, "gpus_per_node": 8}, (16, 2)),
        ({"gpus": 0, "processes": 2}, (2, 1)),
        ({"gpus": 0, "processes": 4, "processes_per_node": 1}, (4, 4)),
    ],
)
def test_nodes_follow_from_processes(options, expected):
    compute = ComputeConfig(**options)
    assert (compute.world_size, compute.nodes) == expected


@pytest.mark.parametrize(
    "options", [{"gpus": 12, "gpus_per_node": 8}, {"gpus": 0, "processes": 3, "processes_per_node": 2}]
)
def test_parts_of_nodes_are_refused(options):
    with pytest.raises(ValueError, match=r"no multiple of it; a\s+training job on several nodes takes whole ones"):
        ComputeConfig(**options)


@pytest.mark.parametrize("model", ["", "h100", "2080ti", "3g.20gb", "nvidia_h100_80gb_hbm3"])
def test_gpu_models_that_the_executor_takes(model):
    assert ComputeConfig(gpu_model=model).gpu_model == model


def test_a_gpu_model_that_the_executor_would_refuse_after_hours_is_refused_at_once():
    with pytest.raises(ValueError, match=r"compute\.gpu_model = 'nvidia_a100-sxm4-80gb': .* leave it empty"):
        ComputeConfig(gpu_model="nvidia_a100-sxm4-80gb")


def test_several_nodes_need_a_slurm_job_of_so_many(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(
        ValueError, match=r"asks for 2 nodes, but this job was not started by Slurm; run with --profile"
    ):
        run_processes("this", processes=1, nodes=2)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    script = 'case "$*" in *"show job 7") echo JobId=7 NodeList=gpu[1-3];; *) printf "gpu1\\ngpu2\\ngpu3\\n";; esac'
    stand_in(tmp_path, monkeypatch, scontrol=script)
    assert slurm_hosts(3) == ["gpu1", "gpu2", "gpu3"]
    with pytest.raises(ValueError, match=r"asks for 2 nodes, Slurm gave 3 \(gpu\[1-3\]\)"):
        slurm_hosts(2)


def test_a_node_whose_name_does_not_resolve_has_slurms_address(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, scontrol="echo NodeName=gpu1.invalid Arch=x86_64 NodeAddr=10.0.0.7 State=IDLE")
    assert address_of("gpu1.invalid") == "10.0.0.7"
    assert address_of("localhost") == "localhost"


def test_a_nested_step_knows_its_job_and_not_the_step_around_it():
    around = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SRUN_DEBUG": "3", "SLURMD_NODENAME": "gpu1", "HOME": "/root"}
    assert without_step(around) == {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "gpu1", "HOME": "/root"}


SLEEPER = (
    "import os, time; from pathlib import Path; Path(f'pid-{os.environ[\"RANK\"]}').write_text(str(os.getpid()))\n"
)
SLEEPER += "from wildrayzer.training.launch import end_with_parent; end_with_parent()\n"


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:  # noqa: PTH123
        return stream.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(("number", "saved"), [(signal.SIGKILL, False), (signal.SIGTERM, True), (signal.SIGUSR1, True)])
def test_signals_reach_the_processes_and_none_outlives_a_kill(tmp_path, number, saved):
    body = (
        "import signal, sys\n"
        "def stop(got, _): Path('saved').write_text(str(got)); sys.exit(3)\n"
        "for one in (signal.SIGTERM, signal.SIGUSR1, signal.SIGQUIT): signal.signal(one, stop)\n"
        "Path('ready').touch(); time.sleep(60)"
    )
    (tmp_path / "sleeper.py").write_text(SLEEPER + body)
    script = "from wildrayzer.training.launch import run_processes; run_processes('sleeper', processes=1)"
    job = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if (tmp_path / "ready").exists():
            break
        time.sleep(0.1)
    worker = int((tmp_path / "pid-0").read_text())
    job.send_signal(number)
    _, output = job.communicate(timeout=60)
    for _ in range(100):
        if not alive(worker):
            break
        time.sleep(0.1)
    assert not alive(worker)
    assert (tmp_path / "saved").exists() == saved
    assert ("CalledProcessError" in output) == saved


def test_a_job_runs_once_at_a_time(tmp_path):
    log = tmp_path / "log.txt"
    child = (
        "import sys, time; from wildrayzer.run.logs import job_log\n"
        "with job_log(sys.argv[1]): print('at work', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", child, str(log)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "at work\n"
            message = re.escape(f"this job runs already, as process {other.pid} on ")
            with pytest.raises(ValueError, match=message), job_log(log):
                pass
        finally:
            other.kill()
    with job_log(log):
        pass
    assert log.exists()


def manifest(path, **attributes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(attributes), encoding="utf-8")


@pytest.fixture
def run(tmp_path):
    layout = RunLayout("run", str(tmp_path))
    manifest(Path(layout.store("clips")), digest="frames")
    manifest(Path(layout.residuals(1, "clips")), digest="maps", digests={"store": "frames", "renderer": "weights"})
    manifest(Path(layout.patch_masks(1, "clips")), digest="patches", digests={"residuals": "maps"})
    manifest(Path(layout.pixel_masks(1, "clips")), digest="pixels", digests={"residuals": "maps"})
    checkpoint = Path(layout.checkpoint("pretrain"))
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").write_text('{"weights_digest": "weights"}')
    return layout


def test_caches_of_this_run_are_let_through(run):
    masks = [("clips", "renderer"), ("absent", "renderer")]
    assert foreign_caches(run, rounds=2, masks=masks) == []


def test_caches_of_another_run_are_named_unless_they_are_made_again(run):
    masks = [("clips", "renderer")]
    (Path(run.checkpoint("pretrain")) / "manifest.json").write_text('{"weights_digest": "others"}')
    (line,) = foreign_caches(run, rounds=1, masks=masks)
    assert f"{run.residuals(1, 'clips')} was made from something else: renderer is weights, expected others" in line
    assert foreign_caches(run, rounds=1, masks=masks, remade={run.residuals(1, "clips")}) == []
    maps = Path(run.residuals(1, "clips"))
    maps.write_text(
        maps.read_text(encoding="utf-8").replace('"maps"', '"new"').replace('"weights"', '"others"'), encoding="utf-8"
    )
    lines = foreign_caches(run, rounds=1, masks=masks)
    assert [line.split()[0] for line in lines] == [run.patch_masks(1, "clips"), run.pixel_masks(1, "clips")]
