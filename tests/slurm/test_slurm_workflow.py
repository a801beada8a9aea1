"""The workflow on a Slurm cluster of two nodes on this machine: scatter, a training job over both, what is refused."""

import json
import os
import re
import tempfile
from pathlib import Path

import pytest

from tests.helpers.tiny_run import another_runs_cache
from tests.slurm.loopback import NODES, loopback_cluster, missing
from tests.slurm.run import snakemake

NEEDED = "WILDRAYZER_NEED_SLURM" in os.environ
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None and not NEEDED, reason=f"no Slurm on this machine ({missing()})"),
]
BASE = Path("results") / "tiny"


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="slurm") as folder, loopback_cluster(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def run(cluster, tmp_path_factory):
    """Frames made here, everything up to the refined masks of the training split on the cluster."""
    folder = tmp_path_factory.mktemp("run")
    snakemake(
        folder, "--", *(f"{BASE}/frames/{name}.json" for name in ("static_train", "static_test", "dynamic_train"))
    )
    masks = f"{BASE}/round1/masks/dynamic_train/renderer/pixel_masks.json"
    snakemake(folder, "--retries", "0", "--config", "refine={shards: 2}", "--", masks, cluster=cluster)
    return folder


def test_training_ran_on_both_nodes(run):
    (log,) = (run / "results" / "slurm-logs" / "rule_train_pretrain").rglob("*.log")
    said = log.read_text()
    assert "can't run 1 processes on 2 nodes" in said, "the job held both nodes"
    hosts = set(re.findall(r"rank (\d) of 2 on node (\w+)", said))
    assert hosts == {("0", NODES[0]), ("1", NODES[1])} or hosts == {("0", NODES[1]), ("1", NODES[0])}
    manifest = json.loads((run / BASE / "pretrain" / "checkpoint" / "manifest.json").read_text())
    assert manifest["step"] == 6


def test_residuals_were_scattered_and_listed(run, cluster):
    jobs = list((run / "results" / "slurm-logs" / "rule_residual_part").rglob("*.log"))
    assert len(jobs) == 2
    assert not list((run / BASE).glob("round1/masks/*/*/residuals.job-*"))
    assert (run / BASE / "round1/masks/dynamic_train/renderer/residuals.json").is_file()
    assert set(cluster.jobs().values()) == {"COMPLETED"}


def test_refinement_was_scattered_and_listed(run):
    logs = run / "results" / "slurm-logs"
    assert [len(list((logs / f"rule_{rule}").rglob("*.log"))) for rule in ("refine_part", "refine_masks")] == [2, 1]
    masks = run / BASE / "round1/masks/dynamic_train/renderer"
    assert not list(masks.glob("pixel_masks.job-*"))
    assert json.loads((masks / "pixel_masks.json").read_text())["summary"]["frames"] == 48


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ["--default-resources", "slurm_partition=gpuu"],
            "slurm_partition = 'gpuu' is not on this cluster (gpu, short",
        ),
        (["--default-resources", "slurm_partition=short"], "is over the 30 of partition short"),
        (
            ["--config", "compute={gpus: 4, gpus_per_node: 4}"],
            "4 GPUs of model h100 on one node, the nodes of partition",
        ),
        (["--config", "compute={gpus: 6, gpus_per_node: 2}"], "pretrain.batch = 4 does not divide over 6 processes"),
        (
            ["--slurm-array-jobs", "residual_part", "--jobs", "2"],
            "slurm-array-jobs = 'residual_part': the executor would",
        ),
    ],
)
def test_what_the_cluster_cannot_run_is_refused_before_submission(cluster, tmp_path, change, message):
    before = cluster.jobs()
    result = snakemake(tmp_path, *change, "--", "pretrain", cluster=cluster, check=False)
    assert result.returncode != 0
    assert message in result.stdout
    assert cluster.jobs() == before


def test_a_cache_of_another_run_is_refused_before_submission(cluster, tmp_path):
    before, message = cluster.jobs(), another_runs_cache(tmp_path)
    result = snakemake(tmp_path, "--", "pretrain", cluster=cluster, check=False)
    assert result.returncode != 0
    assert message in result.stdout
    assert cluster.jobs() == before
