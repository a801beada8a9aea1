"""Source jobs in the workflow: what a fresh clone plans to fetch, what is there and stays, what is fetched again."""

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.helpers.dataset_server import running_server, whole
from wildrayzer.config.sections.data import EmbeddedConfig
from wildrayzer.stages.prepare import make_embedded

ROOT = Path(__file__).parents[2]
INDICES = {"index_re10k", "index_dre10k"}
FETCHED = {"re10k", "dre10k", "dre10k_iphone", "coco", "vgg16", "vgg19", "dinov3_vit7b16", *INDICES}


def snakemake(folder: Path, *arguments: str, check: bool = True) -> str:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    said = result.stdout + result.stderr
    assert not check or result.returncode == 0, said[-5000:]
    return said


def planned(said: str) -> dict[str, int]:
    table = re.search(r"Job stats:\n.*\n[- ]+\n(.*?)\ntotal", said, re.DOTALL)
    return {name: int(count) for name, count in (line.split() for line in table[1].splitlines())} if table else {}


def test_a_fresh_clone_plans_to_fetch_what_the_paper_needs(tmp_path):
    said = snakemake(tmp_path, "--profile", "slurm", "--configfile", str(ROOT / "config/paper.yaml"), "--dry-run")
    jobs = planned(said)
    assert {name.removeprefix("fetch_") for name in jobs if name.startswith("fetch_")} == FETCHED
    assert all(jobs[f"fetch_{name}"] == 1 for name in FETCHED), "one job a source"
    assert jobs["prepare_split"] == 7
    assert len(re.findall(r"localrule fetch_|Job \d+: (?:Fetching|Asking you for)", said)) >= len(FETCHED)
    assert "Asking you for D-RE10K-iPhone" in said


def test_own_paths_are_inputs_and_not_fetched_and_a_frozen_index_is(tmp_path):
    for name in ("stills", "movers", "weights/dino"):
        (tmp_path / name).mkdir(parents=True)
    paths = {f"re10k_{part}": {"path": "stills"} for part in ("train", "calibration", "test", "masks")}
    paths |= {name: {"path": "movers"} for name in ("dre10k_train", "dre10k_test", "iphone_test")}
    changes = {"data": {"splits": paths}, "features": {"weights": "./weights/dino"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(changes))
    files = [str(ROOT / "config/paper.yaml"), str(tmp_path / "own.yaml")]
    jobs = planned(snakemake(tmp_path, "--configfile", *files, "--dry-run"))
    fetched = {name for name in jobs if name.startswith("fetch_")}
    assert fetched == {"fetch_coco", "fetch_vgg16", "fetch_vgg19", *(f"fetch_{name}" for name in INDICES)}


def test_weights_that_an_ablation_alone_reads_are_fetched_for_it(tmp_path):
    changes = {
        "features.weights": "resources/weights/dinov3-vitl16-pretrain-lvd1689m",
        "model.motion_head.feature_width": 1024,
    }
    ablations = {"ablations": {"small": {"changes": changes, "until": "pseudo_masks"}}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(ablations))
    files = [str(ROOT / "config/paper.yaml"), str(tmp_path / "small.yaml")]
    jobs = planned(snakemake(tmp_path, "--configfile", *files, "--dry-run", "--", "ablation_small"))
    assert jobs["fetch_dinov3_vitl16"] == 1
    assert "fetch_dinov3_vitl16" not in planned(snakemake(tmp_path, "--configfile", *files, "--dry-run"))


def test_an_unknown_source_is_refused_before_any_job(tmp_path):
    change = 'data={"splits": {"re10k_test": {"source": "re10k/val"}}}'
    arguments = ("--configfile", str(ROOT / "config/paper.yaml"), "--dry-run", "--config", change)
    said = snakemake(tmp_path, *arguments, check=False)
    assert "data.splits.re10k_test.source = 're10k/val' is in no source of the table" in said


@pytest.fixture
def site(tmp_path):
    """The tiny run with one split behind a server, as a source of a table."""
    raw = yaml.safe_load((ROOT / "tests/resources/tiny.yaml").read_text())
    embedded = EmbeddedConfig(**raw["data"]["embedded"])
    make_embedded(embedded, image_size=24, split="static_test", out_dir=tmp_path / "packing")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted((tmp_path / "packing").rglob("*")):
            if path.is_file() and path.name != "embedded.json":
                archive.write(path, Path("stills/test") / path.relative_to(tmp_path / "packing"))
    with running_server() as server:
        server.files["/stills.zip"] = stream.getvalue()
        source = {
            "title": "Stills",
            "home": "https://example.org",
            "folder": "resources/data/stills",
            "files": [{"name": "stills.zip", "mirrors": [f"{server.address}/stills.zip"], "archive": True}],
            "parts": {"test": {"layout": "pixelsplat", "find": ["*/test"]}},
        }
        (tmp_path / "table.yaml").write_text(yaml.safe_dump({"sources": {"stills": source}}))
        raw["data"]["sources"] = "table.yaml"
        raw["data"]["splits"]["static_test"] |= {"layout": "pixelsplat", "source": "stills/test"}
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(raw))
        yield tmp_path, server


STORE = "results/tiny/frames/static_test.json"
PLACE = "resources/data/stills/test"
LINK = "results/tiny/sources/stills/test"


def provide(folder: Path) -> Path:
    """The split in its place, put there by the user."""
    place = folder / PLACE
    shutil.copytree(folder / "packing", place)
    (place / "mine.txt").write_text("mine")
    return place


@pytest.mark.slow
def test_a_source_is_fetched_once_and_again_when_it_is_gone_and_needed(site):
    folder, server = site
    run = ("--configfile", str(folder / "run.yaml"), "--cores", "1")
    assert set(planned(snakemake(folder, *run, "--dry-run", "--", STORE))) == {"fetch_stills", "prepare_split"}
    snakemake(folder, *run, "--", STORE)
    assert (folder / PLACE / "index.json").is_file()
    assert (folder / LINK).readlink() == Path("../../../../resources/data/stills/test")
    assert (folder / STORE).is_file()
    assert len(server.requests) == 1
    for path in (folder / PLACE).iterdir():
        os.utime(path, (0, 0))  # as if the script of the job were newer
    assert "Nothing to be done" in snakemake(folder, *run, "--dry-run", "--", STORE), "fetched again"
    forced = snakemake(folder, *run, "--dry-run", "--forceall", "--", STORE)
    assert set(planned(forced)) == {"prepare_split"}, "what is there is fetched by no option"
    shutil.rmtree(folder / PLACE)
    assert "Nothing to be done" in snakemake(folder, *run, "--dry-run", "--", STORE), "no job needs it"
    again = ("--forcerun", "prepare_split", "--", STORE)
    assert set(planned(snakemake(folder, *run, "--dry-run", *again))) == {"fetch_stills", "prepare_split"}


@pytest.mark.slow
def test_data_in_place_are_taken_and_survive_a_job_that_fails(site):
    folder, server = site
    run = ("--configfile", str(folder / "run.yaml"), "--cores", "1")
    place = provide(folder)
    aside = place.with_name("aside")
    place.rename(aside)
    place.mkdir()
    (place / "notes.txt").write_text("still copying")
    said = snakemake(folder, *run, "--", STORE, check=False)
    assert (
        f"{PLACE} is not a folder with *.torch chunks: mend it, or move it away to have source stills fetched" in said
    )
    assert (place / "notes.txt").is_file(), "what a failed job was about is the user's"
    shutil.rmtree(place)
    aside.rename(place)
    said = snakemake(folder, *run, "--", STORE)
    assert set(planned(said)) == {"take_stills", "prepare_split"}
    assert "Stills is in its place" in said
    assert (folder / STORE).is_file()
    assert (place / "mine.txt").is_file()
    assert server.requests == []


@pytest.mark.slow
def test_data_put_in_place_while_a_job_waits_or_works_are_kept(site):
    folder, server = site

    def meanwhile(handler, body):
        provide(folder)
        whole(handler, body)

    server.plan("/stills.zip", meanwhile)
    said = snakemake(folder, "--configfile", str(folder / "run.yaml"), "--cores", "1", "--", STORE)
    assert f"{PLACE} was put there meanwhile; it is left as it is" in said
    assert (folder / PLACE / "mine.txt").is_file()
    assert (folder / STORE).is_file()
