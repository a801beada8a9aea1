"""Refinement in parts: any number of jobs gives the files of one job, and the join refuses what is not whole."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.config.sections.masks import RefineConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.frame_store.writer import FrameStoreWriter
from wildrayzer.pseudo_masks.cache.arrays import ARRAYS
from wildrayzer.pseudo_masks.cache.cache import PixelMasks
from wildrayzer.pseudo_masks.cache.part_stores import MaskPart, part_frames, part_path
from wildrayzer.pseudo_masks.cache.writer import CacheWriter
from wildrayzer.stages.refine import join_masks, refine_masks, refine_part

SIZE, GRID, SHARD = 24, 6, 4
LENGTHS = (6, 7, 6)
FRAMES = sum(LENGTHS)
CONFIG = RefineConfig(seed_erosion=3, grabcut_iterations=1)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Frames with a square that moves, and their patch masks; one frame is not computed, one has nothing marked."""
    folder = tmp_path_factory.mktemp("split")
    rng = np.random.default_rng(0)
    frames = rng.integers(60, 120, (FRAMES, SIZE, SIZE, 3)).astype(np.uint8)
    masks = np.zeros((FRAMES, GRID, GRID), np.uint8)
    for number in range(FRAMES):
        left = 4 * (number % 4)
        frames[number, 8:16, left : left + 8] = (230, 40, 40)
        masks[number, 2:4, left // 4 : left // 4 + 2] = 1
    masks[5], masks[9] = 255, 0
    with FrameStoreWriter(
        folder / "frames.zarr", image_size=SIZE, store=StoreConfig(), attributes={}, cameras=False
    ) as writer:
        for name, clip in zip("abc", np.split(frames, np.cumsum(LENGTHS)[:-1]), strict=True):
            writer.add_scene(name, clip)
    write_patches(folder / "patch_masks.zarr", masks, FrameStore(folder / "frames.zarr"), residuals="m1")
    return folder


def write_patches(path, masks, store, *, residuals):
    digests = {"residuals": residuals, "store": store.digest, "renderer": "r1", "backbone": "b1"}
    with CacheWriter(
        path, "patch_masks", frames=FRAMES, sizes={"patch_row": GRID, "patch_column": GRID}, digests=digests,
        scenes=store.scenes, offsets=store.offsets, about={"source": "renderer"},
    ) as writer:  # fmt: skip
        writer.append(mask=masks)


@pytest.fixture(scope="module", autouse=True)
def small_shards():
    """Shards of four frames, so that a split of 19 has five."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pixel_masks", "pixel_masks_part"):
            small = tuple(replace(spec, shard=SHARD) if spec.name == "mask" else spec for spec in ARRAYS[name])
            patch.setitem(ARRAYS, name, small)
        yield


def refine(split, out, *, parts, patches="patch_masks.zarr", config=CONFIG):
    """All parts of a split; their paths."""
    paths = [part_path(out, part, parts, group="pixel_masks") for part in range(parts)]
    for part, path in enumerate(paths):
        refine_part(
            patch_masks_path=split / patches, store_path=split / "frames.zarr", config=config, out_path=path,
            part=part, parts=parts,
        )  # fmt: skip
    return paths


def join(paths, split, out):
    join_masks(paths, patch_masks_path=split / "patch_masks.zarr", out_path=out / "pixel_masks.zarr")


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(split, tmp_path_factory):
    """What one job writes."""
    folder = tmp_path_factory.mktemp("whole")
    refine_masks(
        patch_masks_path=split / "patch_masks.zarr", store_path=split / "frames.zarr", config=CONFIG,
        out_path=folder / "pixel_masks.zarr", workers=2,
    )  # fmt: skip
    return folder


def test_the_masks_are_worth_comparing(whole):
    masks = PixelMasks(whole / "pixel_masks.zarr").all("mask")
    assert (masks[5] == 255).all()
    known = np.delete(masks, 5, axis=0)
    assert set(np.unique(known)) == {0, 1}
    assert len(np.unique(known.reshape(len(known), -1), axis=0)) > 4
    assert not masks[9].any()


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_any_number_of_parts_gives_the_bytes_of_one_job(split, whole, tmp_path, parts):
    paths = refine(split, tmp_path, parts=parts, config=CONFIG.model_copy(update={"shards": parts}))
    join(paths[::-1], split, tmp_path)
    for path in paths:
        shutil.rmtree(path)
    assert content(tmp_path) == content(whole)


def test_a_part_owns_whole_shards():
    # 19 frames in shards of 4 are 5 shards; of 3 jobs the first has 1, the others 2
    assert [part_frames(19, part, 3) for part in range(3)] == [range(4), range(4, 12), range(12, 19)]
    assert [len(part_frames(19, part, 7)) for part in range(7)] == [0, 4, 4, 0, 4, 4, 3]
    assert [part_frames(0, part, 2) for part in range(2)] == [range(0), range(0)]


def test_a_missing_part_is_named(split, tmp_path):
    paths = refine(split, tmp_path, parts=3)
    with pytest.raises(ValueError, match="mask part 1 of 3 is missing; run the stage refine for it"):
        join([paths[0], paths[2]], split, tmp_path)
    with pytest.raises(ValueError, match="no mask parts to join"):
        join([], split, tmp_path)
    with pytest.raises(ValueError, match="4 mask parts where 3 are expected; one occurs twice"):
        join([*paths, paths[1]], split, tmp_path)
    shutil.rmtree(paths[2])
    with pytest.raises(
        ValueError, match=r"pixel_masks\.part-00002-of-00003\.zarr does not exist; run the stage refine"
    ):
        join(paths, split, tmp_path)
    assert not (tmp_path / "pixel_masks.zarr").exists()


def write_part(folder, part, frames, like):
    """A part store of two that holds other frames than it should."""
    path = part_path(folder, part, 2, group="pixel_masks")
    about = {**like.about, "part": part, "parts": 2}
    with CacheWriter(
        path, "pixel_masks_part", frames=len(frames), sizes=like.sizes, digests=like.digests, scenes=like.scenes,
        offsets=like.offsets, about=about,
    ) as writer:  # fmt: skip
        writer.append(mask=np.zeros((len(frames), SIZE, SIZE), np.uint8), frame_number=np.array(frames, np.int64))
    return path


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (range(8), range(9, 19), "frame 8 is in no mask part"),
        (range(8), range(7, 19), r"pixel_masks\.part-00001.* has frame 7 a second time"),
        (range(8), range(8, 18), "mask parts have 18 frames, the split has 19"),
        (range(8), range(8, 20), "mask parts have 20 frames, the split has 19"),
        (range(8, 19), range(8), "frame 0 is in no mask part"),
    ],
)
def test_every_frame_must_be_there_once(split, whole, tmp_path, first, second, message):
    like = PixelMasks(whole / "pixel_masks.zarr")
    paths = [write_part(tmp_path, part, list(frames), like) for part, frames in enumerate((first, second))]
    with pytest.raises(ValueError, match=message):
        join(paths, split, tmp_path)


def test_parts_of_other_options_or_masks_are_refused(split, tmp_path):
    paths = refine(split, tmp_path, parts=2)
    other = refine(split, tmp_path / "other", parts=2, config=CONFIG.model_copy(update={"min_area": 0.1}))
    with pytest.raises(ValueError, match="mask parts do not belong together: options is"):
        join([paths[0], other[1]], split, tmp_path)
    write_patches(
        tmp_path / "patch_masks.zarr", np.ones((FRAMES, GRID, GRID), np.uint8), FrameStore(split / "frames.zarr"),
        residuals="m2",
    )  # fmt: skip
    with pytest.raises(ValueError, match="was made from something else: patch_masks is"):
        join_masks(paths, patch_masks_path=tmp_path / "patch_masks.zarr", out_path=tmp_path / "pixel_masks.zarr")


@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_a_damaged_part_is_named_and_nothing_is_written(split, tmp_path, harm):
    paths = refine(split, tmp_path, parts=2)
    file = next(file for file in sorted((paths[1] / "mask" / "c").rglob("*")) if file.is_file())
    held = bytearray(file.read_bytes())
    if harm == "cut":
        held = held[:-5]
    else:
        held[40] ^= 1
    file.write_bytes(held)
    with pytest.raises(ValueError, match=r"pixel_masks\.part-00001-of-00002\.zarr.*( bytes|is damaged)"):
        join(paths, split, tmp_path)
    assert not (tmp_path / "pixel_masks.zarr").exists()


def test_a_part_says_which_it_is_and_the_joined_masks_do_not(split, tmp_path):
    paths = refine(split, tmp_path, parts=2)
    part = MaskPart(paths[1])
    assert (part.about["part"], part.about["parts"]) == (1, 2)
    assert part.all("frame_number").tolist() == list(range(8, 19))
    join(paths, split, tmp_path)
    about = PixelMasks(tmp_path / "pixel_masks.zarr").about
    assert not {"part", "parts"} & about.keys()
    assert "shards" not in about["refine"]
