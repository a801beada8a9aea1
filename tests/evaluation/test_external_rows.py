"""Rows from outside: masks and renderings in files, co-segmentation, other checkpoints, and sets without truth."""

import os
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tests.stages.test_scoring_stages import (
    CONFIG,
    FEATURES,
    FRAMES,
    SCENES,
    SIZE,
    checkpoint,  # noqa: F401
    run_method,
    write_store,
)
from wildrayzer.config.sections.benchmark import BenchmarkConfig, CosegConfig
from wildrayzer.config.sections.data import SplitConfig, StoreConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.evaluation.methods.coseg import border_saliency, cosegment, enlarge
from wildrayzer.evaluation.methods.external import MASK_SUFFIXES, ExternalFiles
from wildrayzer.evaluation.methods.input_masks import cosegmented, masks_from_files
from wildrayzer.evaluation.scoring import ScoringJob
from wildrayzer.evaluation.tables.scores import read_scores
from wildrayzer.evaluation.tables.tables import TableContext, build_tables
from wildrayzer.evaluation.window_batches import read_windows, windows_of
from wildrayzer.io.digests import digest_folder
from wildrayzer.io.files import read_json, write_json
from wildrayzer.run.row_specs import ROW_SPECS, RowSpec, folder_of, row_spec, rows_of_set
from wildrayzer.stages.prepare import prepare_split
from wildrayzer.stages.score_input_masks import score_input_masks
from wildrayzer.stages.score_views import write_index
from wildrayzer.stages.write_tables import load_tables
from wildrayzer.tools.export.pictures import davis_palette

FINISHED = RowSpec(None, entry="theirs", finished=True)
GATED = RowSpec("pretrain", gate="file", entry="sav")


@pytest.fixture(scope="module")
def store_path(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("stores") / "pairs.zarr")


def windows(store_path):
    store = FrameStore(store_path)
    return store, windows_of(store, "pairs_test", 2, CONFIG)


def write_renderings(folder, store_path, *, scenes=SCENES, suffix=".png", size=SIZE):
    """The clean frames of the targets as another method's renderings."""
    store, found = windows(store_path)
    for window in found[:scenes]:
        path = folder / store.scenes[window.scene]
        path.mkdir(parents=True)
        for frame in window.targets:
            image = store.read_clean(store.offsets[[window.scene]] + frame)[0]
            if suffix == ".png":
                Image.fromarray(image).resize((size, size), Image.Resampling.NEAREST).save(path / f"{frame:05d}.png")
            else:
                np.save(path / f"{frame:05d}.npy", image.astype(np.float32) / 255)
    return folder


def write_masks(folder, store_path, *, scenes=SCENES, suffix=".npy"):
    """The true masks of the inputs as another tool's."""
    store, found = windows(store_path)
    for window in found[:scenes]:
        path = folder / store.scenes[window.scene]
        path.mkdir(parents=True)
        for frame in window.inputs:
            mask = (store.read_masks(store.offsets[[window.scene]] + frame)[0] == 1).astype(np.uint8)
            if suffix == ".png":
                Image.fromarray(mask * 255).save(path / f"{frame:05d}.png")
            else:
                np.save(path / f"{frame:05d}.npy", mask)
    return folder


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_finished_renderings_are_scored(tmp_path, store_path, suffix):
    folder = write_renderings(tmp_path / "theirs", store_path, suffix=suffix)
    paths = run_method(tmp_path, store_path, "theirs", spec=FINISHED, folder=folder)
    scores = read_scores([paths["csv"]])
    assert set(scores["method"]) == {"theirs"}
    assert len(scores) == SCENES * CONFIG.targets * 4 * 2
    # the clean frame itself, up to a float's rounding
    assert (scores[scores["metric"] == "psnr"]["value"] > 100).all()
    assert read_json(paths["json"])["digests"] == {
        "store": FrameStore(store_path).digest, "folder": str(folder), "files": digest_folder(folder),
    }  # fmt: skip


def test_scores_of_files_that_were_replaced_are_told(tmp_path, store_path, caplog):
    folder = write_renderings(tmp_path / "theirs", store_path, suffix=".npy")
    paths = run_method(tmp_path, store_path, "theirs", spec=FINISHED, folder=folder)
    context = TableContext("x", "descriptor", "none", (), {"pairs_test": "pairs"}, frozenset(), 100, 0)
    before = load_tables([paths["csv"]], [paths["json"]], [], context)
    assert not caplog.records
    file = next(folder.rglob("*.npy"))
    np.save(file, np.load(file) * 0)
    os.utime(file, ns=(0, 10))
    after = load_tables([paths["csv"]], [paths["json"]], [], context)
    assert f"theirs on pairs_test: the files in {folder} have changed since they were scored" in caplog.text
    assert after.tables == before.tables
    shutil.rmtree(folder)
    caplog.clear()
    load_tables([paths["csv"]], [paths["json"]], [], context)
    assert not caplog.records, "a folder that is gone says nothing"


def test_scenes_without_renderings_are_counted_and_the_tables_compare_what_all_have(tmp_path, store_path):
    folder = write_renderings(tmp_path / "theirs", store_path, scenes=2)
    theirs = run_method(tmp_path, store_path, "theirs", spec=FINISHED, folder=folder)
    nearest = run_method(tmp_path, store_path, "nearest")
    manifests = [read_json(paths["json"]) for paths in (theirs, nearest)]
    assert list(manifests[0]["skipped_scenes"]) == ["scene2"]
    assert manifests[0]["skipped_scenes"]["scene2"] == f"no folder {folder / 'scene2'}"
    assert [manifest["scenes_without_files"] for manifest in manifests] == [1, 0]
    context = TableContext("x", "descriptor", "none", (), {"pairs_test": "pairs"}, frozenset(), 100, 0)
    tables = build_tables(read_scores([theirs["csv"], nearest["csv"]]), manifests, [], context)
    detailed = next(table for table in tables.tables if table.name == "views_pairs_test")
    assert any("theirs lacks 1 scenes" in note for note in detailed.notes)
    assert "theirs: 1 of the split's 3 scenes lack files." in detailed.notes
    assert not any("no evaluation window" in note for note in detailed.notes)
    (row,) = (row for row in detailed.rows if row[1] == "nearest")
    assert row[-3:] == ("2", "6", "0")
    lost = next((folder / "scene1").iterdir())
    lost.unlink()
    theirs = run_method(tmp_path, store_path, "theirs", spec=FINISHED, folder=folder)
    reason = f"{folder / 'scene1'} has no file of frame {int(lost.stem)}"
    assert read_json(theirs["json"])["skipped_scenes"]["scene1"] == reason


def broken(folder, array):
    path = next(folder.rglob("*.npy"))
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image[:8], "the rendering has shape (8, 16, 3), the stored frames need (16, 16, 3)"),
        (lambda image: np.where(image > 2, image, np.nan).astype(np.float32), "768 values are NaN or infinite"),
        (lambda image: image * 255, "scale to [0, 1]"),
        (lambda image: (image * 255).astype(np.uint8), "store floating point values in [0, 1] (divide by 255)"),
    ],
)
def test_bad_renderings_are_refused_by_name(tmp_path, store_path, change, message):
    folder = write_renderings(tmp_path / "theirs", store_path, suffix=".npy")
    first = next(folder.rglob("*.npy"))
    path = broken(folder, change(np.load(first)))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        run_method(tmp_path, store_path, "theirs", spec=FINISHED, folder=folder)
    assert str(path) in str(error.value)


def test_renderings_of_another_size(tmp_path, store_path):
    folder = write_renderings(tmp_path / "theirs", store_path, size=32)
    with pytest.raises(ValueError, match=re.escape("has shape (32, 32, 3), the stored frames need (16, 16, 3)")):
        run_method(tmp_path, store_path, "theirs", spec=FINISHED, folder=folder)


def test_folders_that_hold_nothing_of_use(tmp_path, store_path):
    with pytest.raises(ValueError, match="no such folder; it must hold a folder"):
        run_method(tmp_path, store_path, "theirs", spec=FINISHED, folder=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"looked for under names such as .*scene0/0000\d\.png"):
        run_method(tmp_path, store_path, "theirs", spec=FINISHED, folder=tmp_path / "empty")
    with pytest.raises(ValueError, match="row theirs reads files; name their folder"):
        run_method(tmp_path, store_path, "theirs", spec=FINISHED)
    path = tmp_path / "empty" / "scene0"
    path.mkdir()
    (path / "00003.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"00003\.png: is not an image file"):
        ExternalFiles(tmp_path / "empty", MASK_SUFFIXES).masks("scene0", [3], size=SIZE)


def mask_job(tmp_path, store_path):
    return ScoringJob(
        split="pairs_test", inputs=2, store_path=store_path, scores=tmp_path / "m.csv", manifest=tmp_path / "m.json"
    )


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_masks_from_files_are_scored_and_gate_as_true_masks_do(tmp_path, store_path, checkpoint, suffix):  # noqa: F811
    folder = write_masks(tmp_path / "sav", store_path, suffix=suffix)
    score_input_masks(mask_job(tmp_path, store_path), masks_from_files("sav", folder), config=CONFIG)
    scores = read_scores([tmp_path / "m.csv"])
    assert set(scores["method"]) == {"file:sav"}
    assert set(scores[scores["metric"] == "iou"]["value"]) == {1.0}
    theirs = run_method(tmp_path, store_path, "static_sav", checkpoint, spec=GATED, folder=folder)
    true = run_method(tmp_path, store_path, "static_true_masks", checkpoint)
    plain = run_method(tmp_path, store_path, "static", checkpoint)
    values = [read_scores([paths["csv"]])["value"].to_numpy() for paths in (theirs, true, plain)]
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


def test_a_folder_of_davis_is_scored_at_the_size_of_its_frames(tmp_path):
    """The set's own annotations, as another tool would write them, are right everywhere."""
    davis = tmp_path / "DAVIS"
    for number in range(FRAMES):
        for kind, ending in (("JPEGImages", "jpg"), ("Annotations", "png")):
            path = davis / kind / "480p" / "bear" / f"{number:05d}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((SIZE, 2 * SIZE), np.uint8)
            pixels[4:9, number + 10 : number + 16] = 1
            image = Image.fromarray(pixels)
            image.putpalette(davis_palette())
            (image if kind == "Annotations" else image.convert("RGB")).save(path)
    split = SplitConfig(layout="davis", path=str(davis), role="dynamic", purpose="test")
    prepare_split(split, davis, tmp_path / "bears.json", image_size=SIZE, store=StoreConfig())
    job = mask_job(tmp_path, tmp_path / "bears.json")
    score_input_masks(job, masks_from_files("theirs", davis), config=CONFIG)
    scores = read_scores([tmp_path / "m.csv"])
    assert set(scores["method"]) == {"file:theirs"}
    for metric in ("iou", "davis_j", "davis_f", "davis_jf"):
        assert scores[scores["metric"] == metric]["value"].tolist() == [1.0, 1.0]
    for path in (davis / "Annotations" / "480p" / "bear").iterdir():
        Image.fromarray(np.zeros((SIZE, SIZE + 1), np.uint8)).save(path)
    with pytest.raises(
        ValueError, match=r"00000\.png: the mask has shape \(16, 17\), .* \(or \(16, 32\) for the whole"
    ):
        score_input_masks(job, masks_from_files("theirs", davis), config=CONFIG)


def test_masks_of_another_size(tmp_path, store_path):
    folder = write_masks(tmp_path / "sav", store_path)
    broken(folder, np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match=re.escape("the mask has shape (8, 8), the stored frames need (16, 16)")):
        score_input_masks(mask_job(tmp_path, store_path), masks_from_files("sav", folder), config=CONFIG)


def views_with_an_object(object_in=(0, 1)):
    """Two views of 5 × 5 patches: one direction everywhere, another one on three patches inside."""
    features = torch.zeros(1, 2, 5, 5, 3)
    features[..., 0] = 1.0
    expected = np.zeros((1, 2, 5, 5), bool)
    for view in object_in:
        features[0, view, 2, 1:4] = torch.tensor([0.0, 1.0, 0.0])
        expected[0, view, 2, 1:4] = True
    return features, expected


def test_cosegmentation_finds_what_stands_out_in_the_views():
    config = CosegConfig(clusters=2)
    features, expected = views_with_an_object()
    found = cosegment(features, config, centre=False, anchor=0.0, seeds=[0])
    np.testing.assert_array_equal(found, expected)
    features, expected = views_with_an_object(object_in=(1,))
    alone = cosegment(features, config, centre=False, anchor=0.0, seeds=[0])
    assert not alone.any(), "in one of two views: less than the share of 0.75"
    half = cosegment(features, config.model_copy(update={"share": 0.5}), centre=False, anchor=0.0, seeds=[0])
    np.testing.assert_array_equal(half, expected)


def test_border_saliency_by_hand():
    features, expected = views_with_an_object()
    saliency = border_saliency(features, centre=False).numpy()
    # 3 of 25 patches at 1, the others at 0: mean 0.12, standard deviation sqrt(0.12 · 0.88)
    spread = np.sqrt(0.12 * 0.88)
    np.testing.assert_allclose(saliency[expected], 0.88 / spread, rtol=1e-5)
    np.testing.assert_allclose(saliency[~expected], -0.12 / spread, rtol=1e-5)
    flat = border_saliency(torch.ones(1, 2, 4, 4, 3), centre=False)
    assert torch.equal(flat, torch.zeros(1, 2, 4, 4))


def test_enlarged_masks_keep_their_patches():
    patches = np.zeros((1, 1, 2, 2), bool)
    patches[0, 0, 0, 1] = True
    np.testing.assert_array_equal(enlarge(patches, 4)[0, 0], [[0, 0, 1, 1]] * 2 + [[0] * 4] * 2)


def test_cosegmentation_as_rows(tmp_path, store_path, checkpoint):  # noqa: F811
    masks = cosegmented(config=CONFIG, features=FEATURES, patch_size=4)
    score_input_masks(mask_job(tmp_path, store_path), masks, config=CONFIG)
    scores = read_scores([tmp_path / "m.csv"])
    assert set(scores["method"]) == {"coseg"}
    paths = run_method(tmp_path, store_path, "static_coseg", checkpoint)
    assert read_json(paths["json"])["digests"]["backbone"] == "descriptor"


def test_a_window_is_cosegmented_by_itself(store_path):
    store, found = windows(store_path)
    masks = cosegmented(config=CONFIG, features=FEATURES, patch_size=4).masks
    together = masks(read_windows(store, found))
    alone = [masks(read_windows(store, [window])) for window in found]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_dynamic_clips_without_truth_give_pictures_and_no_scores(tmp_path):
    from wildrayzer.config.sections.data import StoreConfig
    from wildrayzer.data.frame_store.store import FrameStoreWriter, StoreForm

    rng = np.random.default_rng(0)
    form = StoreForm(SIZE, StoreConfig(frames_per_shard=16))
    with FrameStoreWriter(tmp_path / "own.zarr", form, {"role": "dynamic"}) as writer:
        for scene in range(3):
            frames = rng.integers(0, 256, (8, SIZE, SIZE, 3), dtype=np.uint8)
            c2w, intrinsics = np.tile(np.eye(4), (8, 1, 1)), np.ones((8, 4))
            writer.add_scene(f"clip{scene}", frames, c2w=c2w, intrinsics=intrinsics)
    paths = run_method(tmp_path, tmp_path / "own.zarr", "nearest")
    assert read_scores([paths["csv"]]).empty
    assert read_json(paths["json"])["counts"]["frames"] == 0
    with np.load(paths["npz"]) as panels:
        assert panels["scene"].tolist() == ["clip0", "clip1"]


def test_evaluation_windows_can_be_written_down_and_taken_up(tmp_path, store_path):
    write_index("pairs_test", inputs=2, store_path=store_path, config=CONFIG, out=tmp_path / "pairs-2.json")
    frozen = CONFIG.model_copy(update={"index": {"pairs_test": str(tmp_path / "pairs-{inputs}.json")}, "seed": 9})
    store, found = windows(store_path)
    assert windows_of(store, "pairs_test", 2, frozen) == found
    write_json(tmp_path / "pairs-3.json", {"elsewhere": {"context": [0, 4, 5], "target": [1]}})
    with pytest.raises(ValueError, match=r"pairs-3\.json names scenes that are not in .*: elsewhere \(1 of 1\)"):
        windows_of(store, "pairs_test", 3, frozen)
    write_json(tmp_path / "pairs-3.json", {"scene1": {"context": [0, 4], "target": [1]}})
    with pytest.raises(
        ValueError, match=r"pairs-3\.json has windows of \[2\] inputs, but benchmark\.inputs asks for 3"
    ):
        windows_of(store, "pairs_test", 3, frozen)


CONFIGURED = BenchmarkConfig(
    methods=("static", "static_true_masks", "joint_clean", "distilled"),
    masks={"sav": {"folders": {"dynamic_test": "resources/sav"}}},
    renderings={"nerf": {"folders": {"wide": "out/{inputs}"}}},
    checkpoints={"released": {"path": "results/released", "inputs": [2]}},
    sets={"wide": {"split": "static_test", "inputs": [16], "targets": 8, "index": "even.json"}},
    pictures=("own",),
)


def test_rows_of_sets_follow_truth_and_files():
    assert rows_of_set(CONFIGURED, "dynamic_test", role="dynamic") == [
        "static", "static_true_masks", "distilled", "static_sav", "released",
    ]  # fmt: skip
    assert rows_of_set(CONFIGURED, "wide", role="static") == ["static", "nerf", "released"]
    assert rows_of_set(CONFIGURED, "own", role="dynamic") == ["static", "distilled", "released"]
    assert CONFIGURED.inputs_of("wide") == (16,)
    assert CONFIGURED.inputs_of("wide", "released") == ()
    assert CONFIGURED.inputs_of("dynamic_test", "released") == (2,)
    assert CONFIGURED.for_set("wide").targets == 8
    assert CONFIGURED.for_set("wide").index == {"wide": "even.json"}
    assert set(ROW_SPECS) >= set(CONFIGURED.methods)


def test_specs_and_folders_of_external_rows():
    assert row_spec("static_sav", CONFIGURED) == RowSpec("pretrain", gate="file", entry="sav")
    assert row_spec("nerf", CONFIGURED) == RowSpec(None, entry="nerf", finished=True)
    assert row_spec("released", CONFIGURED) == RowSpec("external", gate="own", entry="released")
    assert folder_of("nerf", CONFIGURED, "wide", 16) == "out/16"
    assert folder_of("static_sav", CONFIGURED, "dynamic_test", 2) == "resources/sav"
    assert folder_of("static", CONFIGURED, "wide", 16) is None
    with pytest.raises(ValueError, match=r"benchmark\.renderings\.nerf\.folders has no 'dynamic_test'"):
        folder_of("nerf", CONFIGURED, "dynamic_test", 2)
    with pytest.raises(ValueError, match=r"'best' is unknown; known: nearest, .*static_sav, nerf, released"):
        row_spec("best", CONFIGURED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"renderings": {"joint": {"folders": {}}}}, "benchmark.renderings: the name 'joint' is taken"),
        ({"masks": {"coseg": {"folders": {}}}}, "benchmark.masks: the name 'coseg' is taken"),
        ({"masks": {"Clean Plate": {"folders": {}}}}, "'Clean Plate' is taken, or not of lower-case letters"),
        ({"masks": {"a": {"folders": {}}}, "checkpoints": {"static_a": {"path": "x"}}}, "the name 'static_a' is taken"),
        ({"sets": {"A b": {"split": "x"}}}, "benchmark.sets: the name 'A b'"),
    ],
)
def test_names_that_cannot_be_rows(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BenchmarkConfig.model_validate(options)
