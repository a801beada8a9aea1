"""The pseudo-mask cache: round trips, sizes, provenance, manifests of parts, damage."""

import hashlib
import json
import os
import shutil
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import zarr

from wildrayzer.io.outputs import private_folder
from wildrayzer.io.part_lists import part_path
from wildrayzer.pseudo_masks.cache.adoption import adopt_cache
from wildrayzer.pseudo_masks.cache.arrays import ARRAYS
from wildrayzer.pseudo_masks.cache.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.pseudo_masks.cache.manifest import Manifest
from wildrayzer.pseudo_masks.cache.part import CachePart
from wildrayzer.pseudo_masks.cache.receipts import read_receipts, share_of_parts, write_receipt
from wildrayzer.pseudo_masks.cache.writer import CacheWriter, part_key

DIGESTS = {"renderer": "r1", "backbone": "b1", "store": "s1", "windows": "w1", "config": "c1", "code": "1"}
OFFSETS = np.array([0, 6, 12, 15])
SCENES = ["a", "b", "short"]
WINDOW = np.array([0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, -1, -1, -1], np.int32)
"""Two clips of six frames with two windows each; the third clip was too short for a window."""


def residuals(frames, grid=4, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "d_dino": rng.random((15, grid, grid)).astype(np.float16)[frames],
        "d_ssim": rng.random((15, grid, grid)).astype(np.float16)[frames],
        "clusters": rng.integers(0, 9, (15, grid, grid)).astype(np.uint8)[frames],
        "psnr": rng.uniform(15, 30, 15).astype(np.float32)[frames],
    }


def write_part(manifest, clips, *, grid=4, scenes=None, **digests):
    """A part of some of the clips, in the folder beside a manifest."""
    bounds = list(pairwise(OFFSETS.tolist()))
    frames = np.concatenate([np.arange(*bounds[clip]) for clip in clips])
    offsets = np.cumsum([0, *(bounds[clip][1] - bounds[clip][0] for clip in clips)])
    made_from = {**DIGESTS, "store": f"store of {clips}", "windows": f"windows of {clips}", **digests}
    path = part_path(manifest, part_key("residuals", made_from))
    window = WINDOW[frames]
    with CacheWriter(
        path, "residuals", frames=len(frames), sizes={"patch_row": grid, "patch_column": grid}, digests=made_from,
        scenes=scenes or [SCENES[clip] for clip in clips], offsets=offsets, about={"source": "renderer"},
    ) as writer:  # fmt: skip
        first = window[window >= 0].min(initial=100)
        writer.append(**residuals(frames, grid), window=np.where(window < 0, -1, window - first).astype(np.int32))
        writer.summary = {"windows": len(np.unique(window[window >= 0]))}
    return CachePart(path, "residuals", fix="fix it")


def write_manifest(path, parts):
    manifest = Manifest.of_parts("residuals", parts, digests={"store": "s1", "windows": "w1"}, summary={"mean": 1.0})
    manifest.save(path)
    return manifest


def write_masks(path, masks, layout="pixel_masks", block=7):
    names = ("row", "column") if layout == "pixel_masks" else ("patch_row", "patch_column")
    sizes = dict(zip(names, masks.shape[1:], strict=True))
    offsets = np.array([0, len(masks)])
    with CacheWriter(
        path, layout, frames=len(masks), sizes=sizes, digests={"store": "s1"}, scenes=["a"], offsets=offsets
    ) as writer:
        for start in range(0, len(masks), block):
            writer.append(mask=masks[start : start + block])


def typical_mask(seed, size=256):
    """Two blobs with uneven edges."""
    import cv2

    rng = np.random.default_rng(seed)
    mask = np.zeros((size, size), np.float32)
    for _ in range(2):
        centre, axes = rng.integers(60, 200, 2).tolist(), rng.integers(20, 60, 2).tolist()
        cv2.ellipse(mask, centre, axes, float(rng.integers(180)), 0, 360, 1.0, -1)
    noise = cv2.GaussianBlur(rng.standard_normal((size, size)).astype(np.float32), (0, 0), 3)
    soft = cv2.GaussianBlur(mask, (0, 0), 3)
    return (soft + 0.25 * noise / noise.std() * (soft > 0.05) > 0.5).astype(np.uint8)


def folder_size(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


@pytest.fixture
def cache(tmp_path):
    """Residuals of the three clips in two parts."""
    path = tmp_path / "residuals.json"
    write_manifest(path, [write_part(path, [0]), write_part(path, [1, 2])])
    return path


def change(path, **values):
    """Write other values into a manifest, with a checksum that fits."""
    text = json.dumps({**json.loads(path.read_text()), **values, "checksum": "0" * 16})
    path.write_text(text.replace("0" * 16, hashlib.sha256(text.encode()).hexdigest()[:16], 1))


def test_parts_are_read_as_one(cache):
    maps, expected = ResidualMaps(cache, expect=DIGESTS), residuals(np.arange(15))
    assert (maps.scenes, maps.offsets.tolist(), maps.num_frames) == (SCENES, OFFSETS.tolist(), 15)
    assert (maps.about, maps.summary) == ({"source": "renderer"}, {"mean": 1.0})
    for name, values in expected.items():
        np.testing.assert_array_equal(maps.all(name), values)
        np.testing.assert_array_equal(maps.span(name, 4, 8), values[4:8])
        np.testing.assert_array_equal(maps.span(name, 12, 99), values[12:])
        np.testing.assert_array_equal(maps.take(name, np.array([9, 0, 9, 5])), values[[9, 0, 9, 5]])
    assert maps.window.tolist() == WINDOW.tolist(), "numbers in the list of the whole split"
    assert maps.window.dtype == np.int32
    assert maps.take("window", np.array([14, 7, 0])).tolist() == [-1, 3, 0]
    with pytest.raises(IndexError, match="has 15 frames"):
        maps.take("psnr", np.array([15]))


def test_how_clips_are_divided_does_not_matter(cache, tmp_path):
    other = tmp_path / "other" / "residuals.json"
    write_manifest(other, [write_part(other, [0, 1, 2])])
    one, two = ResidualMaps(other), ResidualMaps(cache)
    for name in ARRAYS["residuals"]:
        np.testing.assert_array_equal(one.all(name.name), two.all(name.name))
    assert one.digest == one.parts[0].entry.key, "the digest of a cache of one part is that of the part"
    assert two.digest not in (one.digest, *(part.entry.key for part in two.parts))


def test_a_part_is_opened_when_it_is_read(cache):
    maps = ResidualMaps(cache)
    shutil.rmtree(maps.parts[1].path / "d_dino" / "c")
    maps = ResidualMaps(cache)
    assert maps.take("d_dino", np.arange(6)).shape == (6, 4, 4)
    with pytest.raises(
        ValueError, match=r"residuals/.*\.zarr lacks the file d_dino/c/0/0/0; delete .* and run the stage"
    ):
        maps.take("d_dino", np.array([6]))


def test_a_part_alone_and_a_group_of_an_earlier_version_are_read(cache, tmp_path):
    part = ResidualMaps(ResidualMaps(cache).parts[1].path)
    assert (part.scenes, part.num_frames) == (["b", "short"], 9)
    np.testing.assert_array_equal(part.psnr, residuals(np.arange(6, 15))["psnr"])
    earlier = tmp_path / "earlier"
    shutil.copytree(part.path, earlier / "residuals.zarr")
    (earlier / "residuals.json").write_text(json.dumps({"source": "renderer", "psnr_filter": 17.0}))
    for name in ("residuals.zarr", "residuals.json"):
        maps = ResidualMaps(earlier / name)
        assert (maps.path.name, maps.digest, maps.num_frames) == ("residuals.zarr", part.digest, 9)
    assert ResidualMaps(cache.with_suffix(".zarr")).path == cache, "and the old name finds the manifest"


def test_a_group_of_an_earlier_version_becomes_the_only_part(cache, tmp_path):
    earlier = tmp_path / "earlier"
    part = ResidualMaps(ResidualMaps(cache).parts[0].path)
    shutil.copytree(part.path, earlier / "residuals.zarr")
    means = {"windows": 2, "clips_skipped": 0, "mean_psnr": 20.0, "psnr_filter": 17.0, "digests": dict(part.digests)}
    (earlier / "residuals.json").write_text(json.dumps(means))
    adopt_cache(earlier)
    (earlier / "residuals.zarr").mkdir()  # left by a call that was stopped before it removed the group
    adopt_cache(earlier)  # what has a manifest stays
    maps = ResidualMaps(earlier / "residuals.json")
    assert maps.path.suffix == ".json"
    assert (maps.digest, maps.digests, maps.summary["mean_psnr"]) == (part.digest, part.digests, 20.0)
    for name in ARRAYS["residuals"]:
        np.testing.assert_array_equal(maps.all(name.name), part.all(name.name))
    counts = maps.parts[0].entry.summary
    assert (counts["windows"], counts["frames_computed"]) == (2, 6)
    assert counts["psnr_sum"] == pytest.approx(part.psnr.sum())
    assert sorted(entry.name for entry in earlier.iterdir()) == ["residuals", "residuals.json"]


def test_a_missing_a_foreign_and_a_damaged_part_are_refused(cache):
    first, second = (part.path for part in ResidualMaps(cache).parts)
    foreign = write_part(cache, [1], renderer="r2").path
    first.rename(first.with_name("kept"))
    with pytest.raises(ValueError, match=rf"1 of 2 parts are missing, first .*{first.name}"):
        ResidualMaps(cache)
    foreign.rename(first)
    with pytest.raises(ValueError, match=rf"{first.name} is another part than .*residuals\.json lists: its digest is"):
        ResidualMaps(cache).all("psnr")
    shutil.rmtree(first)
    first.with_name("kept").rename(first)
    (second / "zarr.json").unlink()
    with pytest.raises(ValueError, match=rf"{second.name} is unfinished; delete .* and run the stage"):
        ResidualMaps(cache).all("psnr")


def test_a_part_and_a_scene_listed_twice_are_refused(cache):
    document = json.loads(cache.read_text())
    one, two = document["parts"]
    change(cache, parts=[one, two, one])
    with pytest.raises(
        ValueError, match=f"the part '{one['key']}' is listed twice; delete the manifest and run the stage"
    ):
        ResidualMaps(cache)
    change(cache, parts=[one, {**two, "scenes": ["a", "short"]}])
    with pytest.raises(ValueError, match="the scene 'a' is listed twice; delete the manifest"):
        ResidualMaps(cache)
    change(cache, parts=[{**one, "digests": {**one["digests"], "store": "another"}}, two])
    with pytest.raises(ValueError, match=f"the part {one['key']} was made from something else"):
        ResidualMaps(cache)


def test_a_changed_manifest_is_refused(cache):
    text = cache.read_text()
    cache.write_text(text.replace('"short"', '"shirt"'))
    with pytest.raises(
        ValueError, match=r"residuals\.json: the manifest does not fit its checksum; delete the manifest"
    ):
        ResidualMaps(cache)
    cache.write_text(text[:-30])
    with pytest.raises(ValueError, match=r"residuals\.json: not valid JSON"):
        ResidualMaps(cache)
    cache.write_text(text)
    change(cache, manifest=2)
    with pytest.raises(ValueError, match="manifest of version 2, this version reads 1"):
        ResidualMaps(cache)
    cache.write_text(text)
    with pytest.raises(ValueError, match="lists residuals, not patch_masks; name the right manifest"):
        PatchMasks(cache)
    cache.unlink()
    with pytest.raises(ValueError, match=r"residuals\.json is unfinished; run the stage residuals again"):
        ResidualMaps(cache)
    shutil.rmtree(cache.with_suffix(""))
    with pytest.raises(ValueError, match=r"residuals\.json does not exist; run the stage residuals again"):
        ResidualMaps(cache)


@pytest.mark.parametrize("name", ["renderer", "backbone", "config"])
def test_parts_of_another_origin_or_grid_are_refused(tmp_path, name):
    path = tmp_path / "residuals.json"
    with pytest.raises(ValueError, match=f"do not belong together: {name} is .1 in .* and x9 in .*; fix it"):
        write_manifest(path, [write_part(path, [0]), write_part(path, [1], **{name: "x9"})])
    with pytest.raises(ValueError, match=r"grid \(2, 2\)"):
        write_manifest(path, [write_part(path, [0]), write_part(path, [1], grid=2)])


def test_masks_of_another_renderer_are_refused(cache):
    with pytest.raises(ValueError, match="renderer is r1, expected r2; backbone is b1, expected b2; run the stage"):
        ResidualMaps(cache, expect={**DIGESTS, "renderer": "r2", "backbone": "b2"})


def test_parts_stay_until_two_manifests_do_not_list_them(cache):
    first, second = (part.path for part in ResidualMaps(cache).parts)
    third, dead = write_part(cache, [2]), cache.with_suffix("") / ".x.zarr.unfinished-99999999-0-0-5-1-ab"
    dead.mkdir()
    kept = CachePart(first, "residuals", fix="")
    write_manifest(cache, [kept, third])
    assert second.exists(), "who has the manifest before open can still read it"
    write_manifest(cache, [kept, third])
    assert not second.exists()
    assert {part.path for part in ResidualMaps(cache).parts} == {first, third.path}
    assert dead.exists(), "another host may be writing it"


def test_two_writers_of_the_same_part_do_not_harm_each_other(tmp_path):
    path = tmp_path / "residuals.json"
    options = {"digests": DIGESTS, "scenes": SCENES, "offsets": OFFSETS, "sizes": {"patch_row": 4, "patch_column": 4}}
    target, values = part_path(path, part_key("residuals", DIGESTS)), residuals(np.arange(15))
    with CacheWriter(target, "residuals", frames=15, **options) as slow:
        slow.append(**values, window=WINDOW)
        with CacheWriter(target, "residuals", frames=15, **options) as fast:
            fast.append(**values, window=WINDOW)
        made = {file: file.stat().st_mtime_ns for file in target.rglob("*")}
    assert {file: file.stat().st_mtime_ns for file in target.rglob("*")} == made, "later jobs may read it already"
    assert [entry.name for entry in target.parent.iterdir()] == [target.name]
    (target / "psnr" / "c" / "0").unlink()
    with CacheWriter(target, "residuals", frames=15, **options) as again:
        again.append(**values, window=WINDOW)
    np.testing.assert_array_equal(ResidualMaps(target).psnr, values["psnr"])


def test_receipts_name_every_part_once(tmp_path):
    paths = [tmp_path / f"{job}.json" for job in range(2)]
    for job, path in enumerate(paths):
        write_receipt(path, {number: f"k{number}" for number in share_of_parts(5, job, 2)}, parts=5)
    assert read_receipts(paths[::-1], parts=5, stage="residuals") == ["k0", "k1", "k2", "k3", "k4"]
    with pytest.raises(ValueError, match="part 1 of 5 is in no receipt; run the stage residuals for it"):
        read_receipts(paths[:1], parts=5, stage="residuals")
    with pytest.raises(ValueError, match=r"part 0 is in two receipts, 0\.json and 0\.json"):
        read_receipts([*paths, paths[0]], parts=5, stage="residuals")
    with pytest.raises(ValueError, match=r"1\.json is a receipt for a split of 5 parts, this one has 6"):
        read_receipts(paths[1:], parts=6, stage="residuals")
    assert [list(share_of_parts(1, job, 2)) for job in range(2)] == [[0], []]
    with pytest.raises(ValueError, match="no job 2 of 2"):
        share_of_parts(5, 2, 2)


def test_an_interrupted_write_leaves_no_group(tmp_path):
    path = tmp_path / "pixel_masks.zarr"
    options = {"digests": {}, "scenes": ["a"], "offsets": np.array([0, 4])}

    def interrupted():
        with CacheWriter(path, "pixel_masks", frames=4, sizes={"row": 8, "column": 8}, **options) as writer:
            writer.append(mask=np.zeros((2, 8, 8), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ValueError, match=r"pixel_masks\.zarr does not exist; .*run the stage refine again"):
        PixelMasks(path)


def test_a_killed_write_is_called_unfinished_and_written_again(tmp_path):
    path = tmp_path / "pixel_masks.zarr"
    write_masks(path, np.zeros((3, 8, 8), np.uint8))
    ended = private_folder(path, "unfinished")
    ended = ended.rename(str(ended).replace(f"-{os.getpid()}-", "-999999999-"))
    path.rename(ended / "x")
    with pytest.raises(ValueError, match=r"is unfinished; .*run the stage refine again"):
        PixelMasks(path)
    write_masks(path, np.ones((3, 8, 8), np.uint8))
    assert PixelMasks(path).read(np.array([2])).all()
    assert not ended.exists()


def test_lost_and_cut_files_are_named(tmp_path):
    path = tmp_path / "pixel_masks.zarr"
    write_masks(path, np.zeros((600, 8, 8), np.uint8))
    shard = path / "mask" / "c" / "1" / "0" / "0"
    content = shard.read_bytes()
    shard.write_bytes(content[:-5])
    with pytest.raises(ValueError, match=r"mask/c/1/0/0 has \d+ of \d+ bytes; .*run the stage refine again"):
        PixelMasks(path)
    shard.unlink()
    with pytest.raises(ValueError, match=r"lacks the file mask/c/1/0/0"):
        PixelMasks(path)
    shard.write_bytes(content)
    PixelMasks(path)


def test_a_flipped_bit_is_an_error_and_no_other_mask(tmp_path):
    path = tmp_path / "pixel_masks.zarr"
    write_masks(path, np.zeros((4, 8, 8), np.uint8))
    shard = path / "mask" / "c" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[20] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"pixel_masks.zarr: the array mask is damaged .* run the stage refine again"):
        PixelMasks(path).read(np.arange(4))


def test_another_schema_is_refused(tmp_path):
    path = tmp_path / "pixel_masks.zarr"
    write_masks(path, np.zeros((1, 8, 8), np.uint8))
    group = zarr.open_group(path)
    group.attrs["schema"] = 99
    with pytest.raises(ValueError, match="has schema 99, this version reads 2"):
        PixelMasks(path)


@pytest.mark.parametrize(("frames", "block"), [(1, 1), (100, 7), (700, 700), (1030, 64)])
def test_masks_come_back_whatever_the_blocks(tmp_path, frames, block):
    masks = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (frames, 8, 8))
    write_masks(tmp_path / "m.zarr", masks, block=block)
    again = PixelMasks(tmp_path / "m.zarr")
    wanted = np.random.default_rng(1).integers(0, frames, 5)
    np.testing.assert_array_equal(again.all("mask"), masks)
    np.testing.assert_array_equal(again.read(wanted), masks[wanted])
    assert again.read(wanted[:0]).shape == (0, 8, 8)
    held = PixelMasks(tmp_path / "m.zarr", preload_mb=1)
    shutil.rmtree(tmp_path / "m.zarr")
    np.testing.assert_array_equal(held.read(wanted), masks[wanted])


@pytest.mark.parametrize(("chunk", "shard"), [(1, 1), (1, 64), (4, 8), (16, 32)])
def test_shard_and_chunk_sizes_do_not_matter(tmp_path, monkeypatch, chunk, shard):
    maps = {**residuals(np.arange(15)), "window": np.arange(15, dtype=np.int32)}
    sizes = {"patch_row": 4, "patch_column": 4}
    options = {"digests": DIGESTS, "scenes": SCENES, "offsets": OFFSETS}
    for name in ("usual", "other"):
        if name == "other":
            changed = tuple(replace(spec, chunk=chunk, shard=shard) for spec in ARRAYS["residuals"])
            monkeypatch.setitem(ARRAYS, "residuals", changed)
        with CacheWriter(tmp_path / f"{name}.zarr", "residuals", frames=15, sizes=sizes, **options) as writer:
            for row in range(15):
                writer.append(**{key: values[row : row + 1] for key, values in maps.items()})
    usual, other = (ResidualMaps(tmp_path / f"{name}.zarr") for name in ("usual", "other"))
    wanted = np.array([14, 0, 7, 7])
    for key, values in maps.items():
        np.testing.assert_array_equal(other.all(key), usual.all(key))
        np.testing.assert_array_equal(other.take(key, wanted), values[wanted])
        np.testing.assert_array_equal(usual.take(key, wanted), values[wanted])


def test_frames_are_what_zarr_reads(tmp_path):
    part = write_part(tmp_path / "residuals.json", [0, 1, 2])
    maps, plain = ResidualMaps(part.path), zarr.open_group(part.path, mode="r")
    frames = np.arange(15)
    for name in ("d_dino", "d_ssim", "clusters", "psnr", "window", "disagreement"):
        np.testing.assert_array_equal(maps.span(name, 3, 11), plain[name][3:11])
        found = maps.take(name, frames)
        np.testing.assert_array_equal(found, plain[name][:])
        assert found.dtype == plain[name].dtype


@pytest.mark.parametrize("place", ["chunk", "index"])
def test_a_flipped_bit_is_found(tmp_path, place):
    path = tmp_path / "pixel_masks.zarr"
    write_masks(path, np.stack([typical_mask(0, 64)] * 3))
    shard = path / "mask" / "c" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[40 if place == "chunk" else -100] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"pixel_masks\.zarr: the array mask is damaged"):
        PixelMasks(path).read(np.array([0]))


@pytest.mark.parametrize("file", ["zarr.json", "mask/zarr.json", "offsets/zarr.json"])
def test_a_bit_of_what_describes_a_cache_is_noticed_or_changes_nothing(tmp_path, file):
    path = tmp_path / "pixel_masks.zarr"
    masks = np.stack([typical_mask(seed, 64) for seed in range(3)])
    write_masks(path, masks)
    whole, errors = (path / file).read_bytes(), []
    for place in np.linspace(0, len(whole) - 1, 60).astype(int).tolist():
        (path / file).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 7]) + whole[place + 1 :])
        try:
            cache = PixelMasks(path)
            np.testing.assert_array_equal(cache.read(np.arange(3)), masks)
            np.testing.assert_array_equal(cache.offsets, [0, 3])
        except ValueError as error:
            errors.append(str(error))
    assert len(errors) >= 55
    assert all("pixel_masks.zarr" in error for error in errors)


def test_frames_outside_are_refused(tmp_path):
    write_masks(tmp_path / "m.zarr", np.zeros((3, 4, 4), np.uint8), "patch_masks")
    with pytest.raises(IndexError, match=r"has 3 frames; asked for \[1, 3\]"):
        PatchMasks(tmp_path / "m.zarr").read(np.array([1, 3]))


def test_size_and_file_count(tmp_path):
    """At 16×16 with all that voting needs: at most 1.5 KB a frame; a typical 256×256 mask: at most 1 KB."""
    rng = np.random.default_rng(0)
    frames = 512
    sizes = {"patch_row": 16, "patch_column": 16}
    options = {"digests": DIGESTS, "scenes": ["a"], "offsets": np.array([0, frames])}
    with CacheWriter(tmp_path / "r.zarr", "residuals", frames=frames, sizes=sizes, **options) as writer:
        writer.append(
            d_dino=rng.random((frames, 16, 16)).astype(np.float16),
            d_ssim=rng.random((frames, 16, 16)).astype(np.float16),
            clusters=rng.integers(0, 64, (frames, 16, 16)).astype(np.uint8),
            psnr=rng.random(frames).astype(np.float32),
            window=np.arange(frames, dtype=np.int32),
        )
    assert folder_size(tmp_path / "r.zarr") / frames < 1536
    masks = np.stack([typical_mask(seed) for seed in range(64)])
    assert 0.05 < masks.mean() < 0.3
    write_masks(tmp_path / "p.zarr", masks)
    shard = tmp_path / "p.zarr" / "mask" / "c" / "0" / "0" / "0"
    index = 512 * 16
    assert (shard.stat().st_size - index) / len(masks) + 16 < 1024
    assert sum(1 for file in (tmp_path / "r.zarr").rglob("c/**/*") if file.is_file()) <= 7


def test_a_random_frame_is_read_in_milliseconds(tmp_path):
    write_masks(tmp_path / "p.zarr", np.stack([typical_mask(seed) for seed in range(16)] * 4))
    masks = PixelMasks(tmp_path / "p.zarr")
    times = []
    for frame in np.random.default_rng(0).integers(0, 64, 60):
        start = time.perf_counter()
        masks.read(np.array([frame]))
        times.append(time.perf_counter() - start)
    # 2 ms on an idle machine; the bound leaves room for a busy one, and all 64 frames take longer.
    assert np.median(times) < 0.05


def test_dimensions_are_named(tmp_path):
    write_masks(tmp_path / "p.zarr", np.zeros((2, 8, 8), np.uint8))
    assert zarr.open_array(tmp_path / "p.zarr" / "mask").metadata.dimension_names == ("frame", "row", "column")
