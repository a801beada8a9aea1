"""What the rehearsal is derived from: the full-size configurations with stated options replaced, and nothing else."""

import re
import subprocess
import sys
import time

import pytest

from tests.rehearsal import __main__ as rehearsal
from tests.rehearsal import memory
from tests.rehearsal.derive import CONFIGURATIONS, ROOT, derived, replaced
from tests.rehearsal.report import COVERED, job_table
from tests.rehearsal.standins import DOWNLOADS, VGG16, VGG19, convolutions, table, writers
from wildrayzer.config.load import load_config, parse_config
from wildrayzer.datasets.required import to_fetch
from wildrayzer.datasets.table import load_table


def test_only_what_the_configuration_has_is_replaced():
    base = {"a": 1, "b": {"c": 2, "d": 3}, "e": None}
    assert replaced(base, {"a": 5, "b": {"c": 6}, "e": {"f": 7}, "g": {"h": 8}}) == {
        **base,
        "a": 5,
        "b": {"c": 6, "d": 3},
    }
    assert base["b"] == {"c": 2, "d": 3}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_sizes_are_those_of_the_full_run_and_every_source_has_a_stand_in(name, tmp_path):
    full = load_config(ROOT / "config" / f"{name}.yaml")
    (tmp_path / "sources.yaml").write_text(table("http://127.0.0.1:1"), encoding="utf-8")
    options = derived(name)
    options["data"]["sources"] = str(tmp_path / "sources.yaml")
    small = parse_config(options)
    mine, theirs = small.model.model_dump(), full.model.model_dump()
    assert {key for key in theirs if mine[key] != theirs[key]} <= {"motion_head", "checkpoint_every"}
    if theirs["motion_head"] is not None:
        assert mine["motion_head"] == {**theirs["motion_head"], "feature_width": 384}
    for stage in {"pretrain", "distill", "masked", "joint"} & options.keys():
        ours, published = getattr(small, stage), getattr(full, stage)
        targets = published.views.targets if stage == "pretrain" else 2
        assert (ours.views.inputs, ours.views.targets) == (published.views.inputs, targets)
        assert (ours.steps, ours.batch) == (1, 2)
    assert (small.perceptual, small.benchmark.methods) == (full.perceptual, full.benchmark.methods)
    assert small.compute.nodes == 2
    wanted = to_fetch(small, load_table(options["data"]["sources"]), tmp_path)
    assert wanted.keys() <= DOWNLOADS.keys()


def test_every_download_is_made(tmp_path):
    assert {file for files in DOWNLOADS.values() for file in files} <= set(writers(tmp_path))


def test_weights_have_the_published_shapes():
    nineteen, sixteen = (list(convolutions(blocks)) for blocks in (VGG19, VGG16))
    assert (len(nineteen), len(sixteen)) == (16, 13)
    assert nineteen[-1][1].shape == sixteen[-1][1].shape == (3, 3, 512, 512)
    assert sum(kernel.size + bias.size for _, kernel, bias in sixteen) == 14_714_688  # torchvision's vgg16.features


def test_every_kind_of_job_is_explained():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    named = set(re.findall(r'\.benchmark\(\s*"(\w+)"', text))
    rehearsed = named - {"make_embedded", "make_cutouts", "calibrate_threshold", "adopt_pretrained", "import_released"}
    assert set(COVERED) == rehearsed | {"fetch"}


def test_jobs_are_summed_by_kind(tmp_path):
    folder = tmp_path / "results" / "paper" / "benchmarks" / "score_views"
    folder.mkdir(parents=True)
    for number, (seconds, held) in enumerate(((10.0, 2048.0), (30.0, 1024.0))):
        row = f"s\th:m:s\tmax_rss\n{seconds}\t0:00:10\t{held}\n"
        (folder / f"{number}.tsv").write_text(row, encoding="utf-8")
    assert f"| score_views | 2 | 40 | 30 | 2.0 | {COVERED['score_views']} |" in job_table(tmp_path, "paper")
    assert "no job has ended" in job_table(tmp_path, "lvsm_re10k")


def test_memory_of_training_is_that_of_its_processes(tmp_path):
    job, file = "results/paper/state/round1-joint.job.json", tmp_path / "memory.json"
    with memory.sampled(file, every=0.05):
        program = "import sys; held = b'x' * 200_000_000; print(flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", program, job]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(1.0)
            process.stdin.close()
    peaks = memory.read(file)
    assert 0.2 < peaks[job] < 0.4
    assert memory.of_stage(peaks, "paper", "joint") == peaks[job]
    assert memory.of_stage(peaks, "paper", "masked") is memory.of_stage(peaks, "lvsm_re10k", "joint") is None


@pytest.mark.parametrize(("option", "value"), [("NEEDED_GB", 10**6), ("DISK_GB", 10**9)])
def test_a_machine_that_is_too_small_is_refused_before_anything_is_made(tmp_path, monkeypatch, option, value):
    monkeypatch.setattr(rehearsal, option, value)
    with pytest.raises(ValueError, match=rf"needs .*{value} GB.*choose another folder with --folder"):
        rehearsal.check_machine(tmp_path)
    assert not list(tmp_path.iterdir())
