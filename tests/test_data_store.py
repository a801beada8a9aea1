"""The frame store: round trip, random access, refusals, byte-identical files."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import zarr

from wildrayzer.config.data import StoreConfig
from wildrayzer.data.store import FrameStore, FrameStoreWriter

SIZE = 16
LENGTHS = (5, 3, 7)


def content(seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "frames": rng.integers(0, 256, (length, SIZE, SIZE, 3), np.uint8),
            "clean": rng.integers(0, 256, (length, SIZE, SIZE, 3), np.uint8),
            "masks": rng.integers(0, 2, (length, SIZE, SIZE), np.uint8),
            "c2w": rng.normal(size=(length, 4, 4)),
            "intrinsics": rng.random((length, 4)),
        }
        for length in LENGTHS
    ]


def write(path: Path, scenes: list[dict[str, np.ndarray]], *, per_shard: int = 4) -> None:
    config = StoreConfig(frames_per_shard=per_shard)
    attributes = {"role": "pairs"}
    with FrameStoreWriter(path, image_size=SIZE, store=config, attributes=attributes, masks=True, clean=True) as writer:
        for number, scene in enumerate(scenes):
            frames = scene["frames"]
            writer.add_scene(f"scene{number}", frames, **{k: v for k, v in scene.items() if k != "frames"})


def files(path: Path) -> dict[str, str]:
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("preload_mb", [0, 100])
@pytest.mark.parametrize("per_shard", [1, 4, 100])
def test_round_trip_and_random_access(tmp_path, preload_mb, per_shard):
    scenes = content()
    scenes[1]["frames"][:] = 0  # black frames take no chunk
    write(tmp_path / "a.zarr", scenes, per_shard=per_shard)
    store = FrameStore(tmp_path / "a.zarr", preload_mb=preload_mb)
    assert store.scenes == ["scene0", "scene1", "scene2"]
    assert store.offsets.tolist() == [0, 5, 8, 15]
    assert (len(store), store.num_frames, store.length(1)) == (3, 15, 3)
    assert (store.has_cameras, store.has_masks, store.has_clean) == (True, True, True)
    assert store.attributes == {"role": "pairs"}
    order = np.array([14, 0, 6, 6, 3])
    whole = {key: np.concatenate([scene[key] for scene in scenes]) for key in scenes[0]}
    assert np.array_equal(store.read(order), whole["frames"][order])
    assert np.array_equal(store.read_clean(order), whole["clean"][order])
    assert np.array_equal(store.read_masks(order), whole["masks"][order])
    c2w, intrinsics = store.cameras(order)
    assert np.array_equal(c2w, whole["c2w"][order])
    assert np.array_equal(intrinsics, whole["intrinsics"][order])
    assert store.scene_of(np.array([0, 4, 5, 14])).tolist() == [0, 0, 1, 2]
    with pytest.raises(IndexError, match="has 15 frames"):
        store.read(np.array([15]))
    with pytest.raises(IndexError, match="has 15 frames"):
        store.read(np.array([-1]))


def test_plain_zarr_reads_the_shards(tmp_path):
    scenes = content()
    write(tmp_path / "a.zarr", scenes)
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["frames"]
    assert array.chunks == (1, SIZE, SIZE, 3)
    assert array.shards == (4, SIZE, SIZE, 3)
    assert np.array_equal(array[:], np.concatenate([scene["frames"] for scene in scenes]))
    assert len(list((tmp_path / "a.zarr" / "frames" / "c").iterdir())) == 4  # 15 frames in shards of 4


def test_equal_input_gives_equal_bytes_and_other_input_another_digest(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write(tmp_path / f"{name}.zarr", content(seed))
    assert files(tmp_path / "a.zarr") == files(tmp_path / "b.zarr")
    digests = [FrameStore(tmp_path / f"{name}.zarr").digest for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_unknown_masks_are_255_and_absent_parts_are_refused(tmp_path):
    scene = content()[0]
    cameras = {"c2w": scene["c2w"], "intrinsics": scene["intrinsics"]}
    with FrameStoreWriter(tmp_path / "a.zarr", image_size=SIZE, store=StoreConfig(), masks=True) as writer:
        writer.add_scene("one", scene["frames"], **cameras)
        with pytest.raises(ValueError, match="'one' is there twice"):
            writer.add_scene("one", scene["frames"], **cameras)
        with pytest.raises(ValueError, match="lacks the cameras"):
            writer.add_scene("two", scene["frames"])
        with pytest.raises(ValueError, match=r"frames of \(8, 8\), not 16 px"):
            writer.add_scene("two", np.zeros((1, 8, 8, 3), np.uint8))
    store = FrameStore(tmp_path / "a.zarr")
    assert (store.read_masks(np.arange(5)) == 255).all()
    with pytest.raises(ValueError, match="holds no clean"):
        store.read_clean(np.array([0]))


def test_an_unfinished_store_is_refused_by_name_and_made_anew(tmp_path):
    path = tmp_path / "a.zarr"
    with pytest.raises(ValueError, match=r"a\.zarr does not exist"):
        FrameStore(path)
    # a killed process leaves the writer without its end
    FrameStoreWriter(path, image_size=SIZE, store=StoreConfig())
    with pytest.raises(ValueError, match=r"a\.zarr is unfinished"):
        FrameStore(path)
    write(path, content())
    assert len(FrameStore(path)) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_an_error_leaves_no_store_behind(tmp_path):
    writer = FrameStoreWriter(tmp_path / "a.zarr", image_size=SIZE, store=StoreConfig())
    with pytest.raises(RuntimeError, match="stop"), writer:
        raise RuntimeError("stop")
    assert not list(tmp_path.iterdir())


def test_a_damaged_shard_and_another_schema_are_refused(tmp_path):
    path = tmp_path / "a.zarr"
    write(path, content())
    shard = path / "frames" / "c" / "1" / "0" / "0" / "0"
    payload = bytearray(shard.read_bytes())
    payload[-10] ^= 255
    shard.write_bytes(payload)
    with pytest.raises(ValueError, match="the shard is damaged"):
        FrameStore(path, preload_mb=10)
    zarr.open_group(path, mode="r+").attrs["schema"] = 99
    with pytest.raises(ValueError, match="has schema 99, this version reads 1"):
        FrameStore(path)
