"""`wildrayzer masks tune`: option sets, their figures against the workflow's own masks, tables, plots and refusals."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from wildrayzer.cli.main import app
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.config.sections.masks import PseudoMasksConfig, RefineConfig
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm, adopt_store
from wildrayzer.evaluation.metrics.masks import score_frames
from wildrayzer.evaluation.tuning.options import option_sets, parse_sweep
from wildrayzer.evaluation.tuning.sweep import TuningSplit, tune
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks
from wildrayzer.pseudo_masks.cache.writer import CacheWriter
from wildrayzer.stages.patch_masks import calibrate_threshold, vote_masks
from wildrayzer.stages.refine import refine_masks

SIZE, GRID, FRAMES, CLIPS = 32, 8, 6, 3
VOTING = PseudoMasksConfig(top_share=0.2, frame_quantile=0.6, absolute_test="patch", false_positive_rate=0.1)
REFINE = RefineConfig(min_area=0.0, seed_erosion=3)


def truth_of(clip):
    masks = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
    for frame in range(FRAMES):
        masks[frame, 8:16, 2 * frame + clip : 2 * frame + clip + 8] = 1
    return masks


def make_split(run, name, *, moving, masks=True):
    """Frames, true masks and residuals that fire at a moving square, as the workflow lays them out."""
    rng = np.random.default_rng(len(name))
    truth = np.concatenate([truth_of(clip) for clip in range(CLIPS)]) * moving
    path = run / "frames" / f"{name}.json"
    attributes = {"role": "dynamic" if moving else "static"}
    form = StoreForm(SIZE, StoreConfig(), cameras=False, masks=bool(moving) and masks)
    with FrameStoreWriter(path.with_suffix(".zarr"), form, attributes) as writer:
        for clip in range(CLIPS):
            own = truth[clip * FRAMES : (clip + 1) * FRAMES]
            frames = rng.integers(60, 120, (FRAMES, SIZE, SIZE, 3)).astype(np.uint8)
            frames[own == 1] = (220, 40, 40)
            writer.add_scene(f"clip{clip}", frames, masks=own if moving and masks else None)
    adopt_store(path.with_suffix(".zarr"), path)
    share = truth.reshape(-1, GRID, SIZE // GRID, GRID, SIZE // GRID).mean((2, 4))
    total = CLIPS * FRAMES
    cache = run / "round1" / "masks" / name / "renderer"
    with CacheWriter(
        cache / "residuals.zarr",
        "residuals",
        frames=total,
        sizes={"patch_row": GRID, "patch_column": GRID},
        digests={"renderer": "r", "backbone": "b", "store": FrameStore(path).digest, "config": "c", "code": "1"},
        scenes=[f"clip{clip}" for clip in range(CLIPS)],
        offsets=np.arange(0, total + 1, FRAMES),
        about={"source": "renderer"},
    ) as writer:
        writer.append(
            d_dino=(share + 0.5 * rng.random(share.shape)).astype(np.float16),
            d_ssim=(share + 0.5 * rng.random(share.shape)).astype(np.float16),
            clusters=np.where(share > 0.2, 0, rng.integers(1, 6, share.shape)).astype(np.uint8),
            psnr=np.full(total, 20, np.float32),
            window=np.repeat(np.arange(total // 3), 3).astype(np.int32),
        )
    return cache


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    for name, moving in (("dynamic_test", 1), ("static_test", 0), ("calibration", 0)):
        make_split(folder, name, moving=moving)
    make_split(folder, "unlabelled", moving=1, masks=False)
    return folder


def split_of(run, name, **changes):
    masks = run / "round1" / "masks"
    options = {
        "residuals": masks / name / "renderer" / "residuals.zarr",
        "store": run / "frames" / f"{name}.json",
        "calibration": (masks / "calibration" / "renderer" / "residuals.zarr",),
    }
    return TuningSplit(name, **{**options, **changes})


def tuned(splits, settings=(), **options):
    sets = option_sets(parse_sweep(settings), pseudo_masks=VOTING, refine=REFINE)
    return pd.DataFrame([row for rows in tune(splits, sets, **options) for row in rows])


def test_figures_are_those_of_the_workflows_masks(run, tmp_path):
    split = split_of(run, "dynamic_test")
    calibrate_threshold(split.calibration, config=VOTING, out_path=tmp_path / "t.json")
    vote_masks(
        residuals_path=split.residuals,
        config=VOTING,
        out_path=tmp_path / "patch.json",
        thresholds_path=tmp_path / "t.json",
    )
    refine_masks(
        patch_masks_path=tmp_path / "patch.json",
        store_path=split.store,
        config=REFINE,
        out_path=tmp_path / "pixel.json",
    )
    truth = FrameStore(split.store).read_masks(np.arange(18))
    patches = PatchMasks(tmp_path / "patch.json").all("mask").repeat(4, 1).repeat(4, 2)
    expected = {"patch": patches, "pixel": PixelMasks(tmp_path / "pixel.json").all("mask")}
    table = tuned([split])
    assert table["masks"].tolist() == ["patch", "pixel"]
    for _, row in table.iterrows():
        scores = score_frames(expected[row["masks"]], truth)
        for metric in ("iou", "recall", "precision", "coverage"):
            assert row[metric] == pytest.approx(np.nanmean(scores[metric])), metric
        assert row["frames"] == 18
    assert table["iou"].min() > 0.3


def test_sets_are_every_combination_and_processes_do_not_matter(run):
    settings = ["pseudo_masks.top_share=0.2,0.6", "refine.grabcut=true,false"]
    splits = [split_of(run, "dynamic_test"), split_of(run, "static_test")]
    table = tuned(splits, settings)
    assert len(table) == 2 * 2 * 2 * 2
    first = table[table["split"] == "dynamic_test"].drop_duplicates("set")
    assert first[["pseudo_masks.top_share", "refine.grabcut"]].to_numpy().tolist() == [
        [0.2, True], [0.2, False], [0.6, True], [0.6, False],
    ]  # fmt: skip
    still = table[table["split"] == "static_test"]
    assert still["iou"].isna().all()
    assert still["coverage"].notna().all()
    pd.testing.assert_frame_equal(table, tuned(splits, settings, workers=2))


def test_a_larger_false_positive_rate_marks_more_of_static_clips(run):
    table = tuned([split_of(run, "static_test")], ["pseudo_masks.false_positive_rate=0.02,0.2,0.6"], refine=False)
    coverage = table["coverage"].tolist()
    assert coverage == sorted(coverage)
    assert coverage[0] < 0.02 + 0.02 < coverage[2] + 0.02


def test_limit_takes_whole_clips_and_unlabelled_splits_have_coverage_alone(run):
    table = tuned([split_of(run, "unlabelled")], limit=2, refine=False)
    assert table["frames"].tolist() == [2 * FRAMES]
    assert table[["iou", "recall", "precision"]].isna().all(axis=None)
    assert 0 < table["coverage"].iloc[0] < 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("pseudo_masks.top_shares=0.3", r"top_shares: no such option .* did you mean pseudo_masks\.top_share\?"),
        ("nonsense=1", r"nonsense: no such option of voting or refinement; known: pseudo_masks\.weighting"),
        ("residuals.clusters=16,32", r"residuals\.clusters: the cache holds .* features are not stored"),
        ("pseudo_masks.top_share", "write SECTION.OPTION=VALUE,VALUE"),
        ("pseudo_masks.top_share=", "write SECTION.OPTION=VALUE,VALUE"),
        ("pseudo_masks.top_share=3", r"pseudo_masks\.top_share = 3: Input should be less than or equal to 1"),
        ("pseudo_masks.psnr_low=40", r"psnr_high = 27\.0 is not above pseudo_masks\.psnr_low = 40"),
    ],
)
def test_faulty_settings_are_named(setting, message):
    with pytest.raises(ValueError, match=message):
        option_sets(parse_sweep([setting]), pseudo_masks=VOTING, refine=REFINE)


def test_an_option_given_twice_is_refused():
    with pytest.raises(ValueError, match=r"pseudo_masks\.top_share is given twice"):
        parse_sweep(["pseudo_masks.top_share=0.3", "pseudo_masks.top_share=0.5"])


def test_an_absolute_test_without_calibration_is_refused(run):
    with pytest.raises(
        ValueError, match="absolute_test: patch needs residuals of a calibration split for dynamic_test"
    ):
        tuned([split_of(run, "dynamic_test", calibration=())])


def test_a_store_of_another_split_is_refused(run):
    with pytest.raises(ValueError, match="was made from something else: store is"):
        tuned([split_of(run, "dynamic_test", store=run / "frames" / "static_test.json")])


@pytest.fixture
def configfile(tmp_path):
    raw = yaml.safe_load(Path("config/demo.yaml").read_text(encoding="utf-8"))
    raw["pseudo_masks"], raw["refine"] = VOTING.model_dump(), REFINE.model_dump()
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def call(*words):
    return CliRunner().invoke(app, ["masks", "tune", *map(str, words)])


def test_the_command_writes_tables_and_plots(run, tmp_path, configfile):
    cache = run / "round1" / "masks" / "dynamic_test" / "renderer"
    sweep = ["--set", "pseudo_masks.top_share=0.2,0.6", "--set", "pseudo_masks.absolute_test=off,patch"]
    out = tmp_path / "out"
    result = call(cache, *sweep, "--configfile", configfile, "--out", out, "--workers", 1, "--limit", 2)
    assert result.exit_code == 0, result.output
    assert "4 option sets" in result.output
    assert "dynamic_test, pixel masks: best IoU" in result.output
    table = pd.read_csv(out / "tuning.csv")
    assert len(table) == 8
    best = table[table["masks"] == "patch"].sort_values("iou", ascending=False, kind="stable").iloc[0]
    text = (out / "tuning.md").read_text()
    rows = text.split("## dynamic_test, patch masks (12 frames)")[1].strip().splitlines()
    assert rows[2].startswith(
        f"| {best['set']} | {best['pseudo_masks.top_share']} | {best['pseudo_masks.absolute_test']}"
    )
    plots = sorted(path.name for path in out.glob("*.svg"))
    assert plots == sorted(
        f"{metric}-pseudo_masks.{option}.svg"
        for metric in ("iou", "recall", "coverage")
        for option in ("top_share", "absolute_test")
    )
    assert "<svg" in (out / plots[0]).read_text()


def test_the_command_says_what_is_wrong(run, tmp_path, configfile):
    cache = run / "round1" / "masks" / "dynamic_test" / "renderer"
    bad = call(cache, "--set", "refine.min_areas=0.1", "--configfile", configfile, "--out", tmp_path / "out")
    assert bad.exit_code == 2
    assert "did you mean refine.min_area?" in " ".join(bad.output.split())
    bare = call(cache, "--out", tmp_path / "out")
    assert bare.exit_code == 2
    assert "has no patch masks to take options from" in " ".join(bare.output.split())
    missing = call(run / "nowhere" / "renderer", "--configfile", configfile, "--out", tmp_path / "out")
    assert missing.exit_code == 2
    assert not (tmp_path / "out").exists()


def refused(*words):
    result = call(*words)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def masks_of(cache, out=None, *, source=None):
    """Patch masks of a cache, or of a copy of it."""
    out = out or cache
    vote_masks(
        residuals_path=(source or cache) / "residuals.zarr",
        config=PseudoMasksConfig(top_share=0.2, frame_quantile=0.6),
        out_path=out / "patch_masks.json",
    )
    return out


@pytest.fixture
def own(run, tmp_path):
    """A run of one's own to change."""
    return Path(shutil.copytree(run, tmp_path / "small"))


QUICK = ("--no-refine", "--workers", 1)


def test_caches_of_one_split_are_told_apart(own, tmp_path):
    cache = masks_of(own / "round1" / "masks" / "dynamic_test" / "renderer")
    shutil.copytree(cache, cache.parent / "nearest")
    shutil.copytree(own / "round1", own / "round2")
    static = own / "round1" / "masks" / "static_test" / "renderer"
    others = (cache.parent / "nearest", own / "round2" / "masks" / "dynamic_test" / "renderer", static)
    result = call(cache, *others, *QUICK, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    names = [f"dynamic_test, {rest}" for rest in ("round1, renderer", "round1, nearest", "round2, renderer")]
    assert pd.read_csv(tmp_path / "out" / "tuning.csv")["split"].tolist() == [*names, "static_test"]
    assert "## dynamic_test, round1, nearest, patch masks (18 frames)" in (tmp_path / "out" / "tuning.md").read_text()
    assert "is given twice" in refused(cache, cache / "residuals.zarr", *QUICK, "--out", tmp_path / "out")


def test_an_ablations_cache_shares_with_the_run(own, tmp_path):
    cache = own / "round1" / "masks" / "dynamic_test" / "renderer"
    ablation = own / "ablations" / "other" / "round1" / "masks" / "dynamic_test" / "renderer"
    masks_of(cache, ablation, source=cache)
    for path in (ablation, ablation / "patch_masks.json"):  # both name one cache, and so one sweep
        result = call(path, *QUICK, "--out", tmp_path / "out")
        assert result.exit_code == 0, result.output
    assert pd.read_csv(tmp_path / "out" / "tuning.csv")["frames"].tolist() == [18]


def test_tables_of_another_sweep_are_replaced_only_if_asked(own, tmp_path):
    cache, out = masks_of(own / "round1" / "masks" / "dynamic_test" / "renderer"), tmp_path / "out"
    assert call(cache, *QUICK, "--out", out).exit_code == 0
    assert call(cache, *QUICK, "--out", out).exit_code == 0
    others = (cache, *QUICK, "--limit", 1, "--out", out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert "tuning.csv exists, and is not what this command writes" in refused(*others)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert call(*others, "--overwrite").exit_code == 0
    assert pd.read_csv(out / "tuning.csv")["frames"].tolist() == [6]
    # A file of the user's that has one of the names is not the command's either.
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tuning.md").write_text("notes", encoding="utf-8")
    assert "tuning.md exists" in refused(cache, *QUICK, "--out", tmp_path / "mine")


def test_paths_that_are_no_cache_are_refused(run, tmp_path, configfile):
    for path in ("/dev", tmp_path):
        assert "residuals.json does not exist" in refused(path, "--configfile", configfile, "--out", tmp_path / "out")
    alone = shutil.copytree(run / "round1" / "masks" / "dynamic_test" / "renderer", tmp_path / "alone")
    words = (alone, "--configfile", configfile, "--out", tmp_path / "out")
    assert "lies in no run's folder; name its frame store with --store" in refused(*words)
    store = run / "frames" / "dynamic_test.json"
    sweep = ("--set", "pseudo_masks.absolute_test=off")
    assert call(*words, "--store", store, *sweep, *QUICK).exit_code == 0


def test_a_lost_store_is_named_with_its_option(own, tmp_path, configfile):
    (own / "frames" / "dynamic_test.json").unlink()
    cache = own / "round1" / "masks" / "dynamic_test" / "renderer"
    said = refused(cache, "--configfile", configfile, "--out", tmp_path / "out")
    assert "dynamic_test.json; name it with --store" in said


def test_options_of_refinement_are_not_made_up(own, tmp_path):
    cache = masks_of(own / "round1" / "masks" / "dynamic_test" / "renderer")
    said = refused(cache, "--out", tmp_path / "out")
    assert "has no pixel masks to take options of refinement from; name the run's configuration" in said
    assert not (tmp_path / "out").exists()
    assert call(cache, *QUICK, "--out", tmp_path / "out").exit_code == 0


def test_a_folder_that_cannot_be_written_is_refused_before_the_sweep(run, tmp_path, configfile, monkeypatch):
    monkeypatch.setattr("wildrayzer.evaluation.tuning.sweep.tune", lambda *_args, **_options: pytest.fail("scored"))
    (tmp_path / "file").write_text("keep")
    words = (run / "round1" / "masks" / "dynamic_test" / "renderer", "--configfile", configfile)
    assert "file is a file; name a folder" in refused(*words, "--out", tmp_path / "file")
    assert "file/out" in refused(*words, "--out", tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "keep"


def test_clips_in_which_things_move_do_not_calibrate(run, tmp_path, configfile):
    masks = run / "round1" / "masks"
    words = (masks / "static_test" / "renderer", "--configfile", configfile, *QUICK, "--out", tmp_path / "out")
    said = refused(*words, "--calibration", masks / "dynamic_test" / "renderer")
    assert "dynamic_test has role: dynamic; name a split in which nothing moves" in said
    assert call(*words, "--calibration", masks / "calibration" / "renderer").exit_code == 0


def test_what_the_workflow_leaves_in_stores_is_no_matter(own, tmp_path):
    cache = masks_of(own / "round1" / "masks" / "dynamic_test" / "renderer")
    for group in (next((own / "frames" / "dynamic_test").glob("*.zarr")), cache / "residuals.zarr"):
        (group / ".snakemake_timestamp").touch()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert call(cache, *QUICK, "--out", tmp_path / "out").exit_code == 0
    assert [one for one in caught if "snakemake_timestamp" in str(one.message)] == []
