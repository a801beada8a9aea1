"""The frame store: round trip, random access, refusals, byte-identical files."""

import gc
import hashlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.helpers.processes import run_apart
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store import shards
from wildrayzer.data.frame_store.codecs import JpegFrames, ZstdFrames, codec_of
from wildrayzer.data.frame_store.manifest import StorePart
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm
from wildrayzer.io.metadata_checksum import put_attributes

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
    with FrameStoreWriter(path, StoreForm(SIZE, config, masks=True, clean=True), attributes) as writer:
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
    assert store.parts == (StorePart(store.digest, 0, 3, 0, 15, seed_frame=0),)
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


def test_a_shard_of_black_frames_has_no_file_and_is_no_loss(tmp_path):
    scenes = content()
    scenes[2]["masks"][:] = 0  # frames 8 to 14: shards 2 and 3
    write(tmp_path / "a.zarr", scenes)
    assert {entry.name for entry in (tmp_path / "a.zarr" / "masks" / "c").iterdir()} == {"0", "1"}
    assert zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["empty_shards"]["masks"] == [2, 3]
    for preload_mb in (0, 10):
        assert not FrameStore(tmp_path / "a.zarr", preload_mb=preload_mb).read_masks(np.arange(8, 15)).any()


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
    with FrameStoreWriter(tmp_path / "a.zarr", StoreForm(SIZE, StoreConfig(), masks=True)) as writer:
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


def begin_and_die(path: Path) -> None:
    FrameStoreWriter(path, StoreForm(SIZE, StoreConfig()))
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_unfinished_store_is_refused_by_name_and_made_anew(tmp_path):
    path = tmp_path / "a.zarr"
    with pytest.raises(ValueError, match=r"a\.zarr does not exist"):
        FrameStore(path)
    with pytest.raises(BrokenProcessPool):
        run_apart(begin_and_die, path)
    with pytest.raises(ValueError, match=r"a\.zarr does not exist"):
        FrameStore(path)
    write(path, content())
    assert len(FrameStore(path)) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "frames.zarr").write_bytes(b"")
    with pytest.raises(ValueError, match=r"frames\.zarr: not valid JSON .* name the manifest of a frame store"):
        FrameStore(tmp_path / "frames.zarr")


def test_two_writers_of_one_store_do_not_meet(tmp_path):
    path, scenes = tmp_path / "a.zarr", content()
    writers = [FrameStoreWriter(path, StoreForm(SIZE, StoreConfig(), cameras=False)) for _ in range(2)]
    for scene in scenes:  # scene by scene in turns, the second one with other frames
        for number, writer in enumerate(writers):
            writer.add_scene(f"scene{writer.num_frames}", scene["frames"] ^ number)
    for number, writer in enumerate(writers):
        with writer:
            pass
        expected = np.concatenate([scene["frames"] for scene in scenes]) ^ number
        assert np.array_equal(FrameStore(path).read(np.arange(15)), expected)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_an_error_leaves_no_store_behind(tmp_path):
    writer = FrameStoreWriter(tmp_path / "a.zarr", StoreForm(SIZE, StoreConfig()))
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
    shard.unlink()
    for preload_mb in (0, 10):
        with pytest.raises(ValueError, match="the shard is missing; delete the part"):
            FrameStore(path, preload_mb=preload_mb).read(np.array([4]))
    zarr.open_group(path, mode="r+").attrs["schema"] = 99
    with pytest.raises(ValueError, match="has schema 99, this version reads 2"):
        FrameStore(path)


def flipped(content: bytes, *, times: int) -> Iterator[bytes]:
    """The content with one bit turned, at places spread evenly."""
    for place in np.linspace(0, len(content) - 1, times).astype(int).tolist():
        yield content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


def everything(path: Path, *, preload_mb: int) -> list[bytes]:
    store = FrameStore(path, preload_mb=preload_mb)
    frames = np.arange(store.num_frames)
    about = [store.digest.encode(), repr(store.scenes).encode(), repr(store.attributes).encode()]
    return [
        *about,
        store.offsets.tobytes(),
        store.read(frames).tobytes(),
        *(a.tobytes() for a in store.cameras(frames)),
    ]


@pytest.mark.parametrize("preload_mb", [0, 10])
@pytest.mark.parametrize("key", ["offsets", "rows", "c2w", "intrinsics"])
def test_damage_of_an_array_without_shards_is_named(tmp_path, key, preload_mb):
    path = tmp_path / "a.zarr"
    write(path, content())
    whole = everything(path, preload_mb=preload_mb)
    (file,) = (file for file in (path / key / "c").rglob("*") if file.is_file())
    before, said = file.read_bytes(), []
    for damaged in (*flipped(before, times=20), before[:-1], b""):
        file.write_bytes(damaged)
        try:
            assert everything(path, preload_mb=preload_mb) == whole
        except ValueError as error:
            said.append(str(error))
    assert len(said) >= 20, "a bit or two of a chunk carry nothing"
    assert all(f"{path / key}: the array is damaged" in line for line in said)
    file.unlink()
    with pytest.raises(ValueError, match="the file is missing; delete the part"):
        everything(path, preload_mb=preload_mb)


@pytest.mark.parametrize("file", ["zarr.json", "frames/zarr.json", "c2w/zarr.json"])
def test_damaged_metadata_is_named(tmp_path, file):
    path = tmp_path / "a.zarr"
    write(path, content())
    whole = everything(path, preload_mb=0)
    before, said = (path / file).read_bytes(), []
    for damaged in (*flipped(before, times=60), before[:-1], b""):
        (path / file).write_bytes(damaged)
        try:
            assert everything(path, preload_mb=0) == whole
        except ValueError as error:
            said.append(str(error))
    assert len(said) >= 40, "spaces between the fields carry nothing"
    assert all(str(path) in line for line in said)


@pytest.mark.parametrize("preload_mb", [0, 100])
def test_stores_that_earlier_versions_joined_are_read(tmp_path, preload_mb):
    """Their scenes may start at a later row than the scene before ends: places in between are empty."""
    clips = [scene["frames"] for scene in content()[:2]]
    with FrameStoreWriter(tmp_path / "a.zarr", StoreForm(SIZE, StoreConfig(frames_per_shard=4), cameras=False)) as made:
        for name, frames in (("a", clips[0]), ("gap", np.zeros((3, SIZE, SIZE, 3), np.uint8)), ("b", clips[1])):
            made.add_scene(name, frames)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    about = {name: value for name, value in group.attrs.items() if name != "metadata_checksum"}
    for name, values in (("offsets", [0, 5, 8]), ("rows", [0, 8])):
        del group[name]
        group.create_array(name, data=np.array(values))
    put_attributes(group, tmp_path / "a.zarr", {**about, "scenes": ["a", "b"]})
    store = FrameStore(tmp_path / "a.zarr", preload_mb=preload_mb)
    assert (store.scenes, store.offsets.tolist()) == (["a", "b"], [0, 5, 8])
    order = np.array([7, 5, 4, 0])
    assert np.array_equal(store.read(order), np.concatenate(clips)[order])


def test_stores_of_schema_1_are_read(tmp_path):
    scenes = content()
    write(tmp_path / "a.zarr", scenes)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    del group["rows"]
    group.attrs.put(
        {**{k: v for k, v in group.attrs.items() if k not in ("empty_shards", "metadata_checksum")}, "schema": 1}
    )
    for preload_mb in (0, 100):
        store = FrameStore(tmp_path / "a.zarr", preload_mb=preload_mb)
        assert np.array_equal(store.read(np.array([14, 5])), np.stack([scenes[2]["frames"][6], scenes[1]["frames"][0]]))


def test_one_frame_decodes_one_chunk_and_few_files_stay_open(tmp_path, monkeypatch):
    write(tmp_path / "a.zarr", content(), per_shard=2)
    monkeypatch.setattr(shards, "_OPEN_FILES", 2)
    decoded = []
    decode = ZstdFrames.decode
    monkeypatch.setattr(
        ZstdFrames, "decode", lambda self, payload, out: decoded.append(1) or decode(self, payload, out)
    )
    store = FrameStore(tmp_path / "a.zarr")
    before = open_files()
    for count, frame in enumerate([14, 0, 7, 3, 11, 14], start=1):
        store.read(np.array([frame]))
        assert len(decoded) == count
        assert open_files() <= before + 2
    del store
    gc.collect()
    assert open_files() == before


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def smooth(length: int) -> np.ndarray:
    """Frames that JPEG codes well."""
    row = np.arange(SIZE)[None, None, :, None] * 8 + np.arange(3) * 20 + np.arange(length)[:, None, None, None]
    return np.broadcast_to(row, (length, SIZE, SIZE, 3)).astype(np.uint8)


def test_jpeg_stores_lose_little_and_plain_zarr_reads_them(tmp_path):
    frames, masks = smooth(5), content()[0]["masks"]
    frames[3] = 0
    form = StoreForm(SIZE, StoreConfig(frames_per_shard=4), cameras=False, masks=True, codec="jpeg")
    with FrameStoreWriter(tmp_path / "a.zarr", form) as writer:
        writer.add_scene("one", frames, masks=masks)
    store = FrameStore(tmp_path / "a.zarr")
    read = store.read(np.arange(5))
    assert 0 < np.abs(read.astype(int) - frames).max() <= 6
    assert not read[3].any()
    assert np.array_equal(store.read_masks(np.arange(5)), masks)
    assert np.array_equal(FrameStore(tmp_path / "a.zarr", preload_mb=1).read(np.arange(5)), read)
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["frames"]
    assert np.array_equal(array[:], read)
    assert codec_of(array.metadata.to_dict()) == JpegFrames(95)
    chunk = (tmp_path / "a.zarr" / "frames" / "c" / "0" / "0" / "0" / "0").read_bytes()
    assert chunk[:3] == b"\xff\xd8\xff", "a chunk is a JPEG file"


def test_a_bit_turned_in_a_jpeg_is_noticed_and_stores_without_checksums_are_read(tmp_path):
    form = StoreForm(SIZE, StoreConfig(frames_per_shard=4), cameras=False, codec="jpeg")
    with FrameStoreWriter(tmp_path / "a.zarr", form) as writer:
        writer.add_scene("one", smooth(4))
    read = FrameStore(tmp_path / "a.zarr").read(np.arange(4))
    (file,) = (file for file in (tmp_path / "a.zarr" / "frames" / "c").rglob("*") if file.is_file())
    whole = file.read_bytes()
    for damaged in flipped(whole, times=50):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="the shard is damaged"):
            FrameStore(tmp_path / "a.zarr").read(np.arange(4))
    plain, out = JpegFrames(95, checked=False), np.empty((SIZE, SIZE, 3), np.uint8)
    chunk = plain.encode(smooth(1)[0])
    assert chunk == JpegFrames(95).encode(smooth(1)[0])[:-4]
    plain.decode(chunk, out)
    assert np.array_equal(out, read[0])
    codecs = [{"name": "wildrayzer.jpeg", "configuration": {"quality": 95}}]
    assert codec_of({"codecs": [{"configuration": {"codecs": codecs}}]}) == plain


def test_codecs_refuse_what_is_no_frame_of_their_shape():
    frame, out = smooth(1)[0], np.empty((SIZE, SIZE, 3), np.uint8)
    for codec in (ZstdFrames(), JpegFrames()):
        with pytest.raises(ValueError, match=r"no (zstd chunk|JPEG) of"):
            codec.decode(codec.encode(frame[:8]), out)
        with pytest.raises(ValueError, match=r"no (zstd chunk|JPEG) of"):
            codec.decode(b"garbage", out)
