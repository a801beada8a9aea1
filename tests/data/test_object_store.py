"""Frames and caches in an object store: read from an S3 server on loopback, they are the same as the local files."""

import os
import urllib.request

import numpy as np
import pytest
from zarr.storage import ObjectStore

from tests.pseudo_masks.test_cache import cache  # noqa: F401
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.manifest import PartEntry, SplitManifest
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.frame_store.writer import FrameStoreWriter, StoreForm
from wildrayzer.io.object_store import ObjectPath, _client, located, zarr_group
from wildrayzer.pseudo_masks.cache.cache import ResidualMaps

obstore = pytest.importorskip("obstore")
moto = pytest.importorskip("moto.server")
SIZE, LENGTH = 16, 5


@pytest.fixture(scope="module")
def address():
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(address, monkeypatch, request):
    """URL of a bucket of one's own, and what the environment must say."""
    settings = {"ENDPOINT_URL": address, "ALLOW_HTTP": "true", "REGION": "us-east-1"}
    settings |= {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    name = f"bucket{abs(hash(request.node.nodeid))}"
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        urllib.request.Request(f"{address}/{name}", method="PUT")
    )
    yield f"s3://{name}"
    _client.cache_clear()


def upload(folder, url):
    store = obstore.store.from_url(url)
    for file in folder.rglob("*"):
        if file.is_file():
            obstore.put(store, str(file.relative_to(folder)), file.read_bytes())


def make_frames(folder):
    """A split of two parts: JPEG frames, masks without files because they are all zeros, cameras."""
    form, entries = StoreForm(SIZE, StoreConfig(frames_per_shard=2), masks=True, codec="jpeg"), []
    for number in range(2):
        random = np.random.default_rng(number)
        with FrameStoreWriter(folder / "own", form, keyed=True) as writer:
            writer.add_scene(
                f"clip{number}", random.integers(0, 256, (LENGTH, SIZE, SIZE, 3), np.uint8),
                c2w=random.normal(size=(LENGTH, 4, 4)), intrinsics=random.random((LENGTH, 4)),
                masks=np.zeros((LENGTH, SIZE, SIZE), np.uint8),
            )  # fmt: skip
        entries.append(PartEntry(writer.digest, LENGTH * number, (f"clip{number}",), (LENGTH,)))
    SplitManifest(SIZE, form.coding, form.arrays, {}, tuple(entries)).save(folder / "own.json")
    return FrameStore(folder / "own.json")


def test_frames_in_a_bucket_are_those_of_the_local_store(bucket, tmp_path):
    local = make_frames(tmp_path / "frames")
    upload(tmp_path, bucket)
    store = FrameStore(f"{bucket}/frames/own.json")
    assert (store.digest, store.scenes) == (local.digest, local.scenes)
    order = np.array([9, 0, 4, 4, 5])
    np.testing.assert_array_equal(store.read(order), local.read(order))
    np.testing.assert_array_equal(store.read_masks(order), local.read_masks(order))
    for ours, theirs in zip(store.cameras(order), local.cameras(order), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    preloaded = FrameStore(f"{bucket}/frames/own.json", preload_mb=1)
    np.testing.assert_array_equal(preloaded.read(order), local.read(order))
    # Zarr's own store reads the same, without any of our readers.
    group = zarr_group(located(f"{bucket}/frames/own/{local.parts[1].key}.zarr"))
    assert isinstance(group.store, ObjectStore)
    np.testing.assert_array_equal(group["frames"][:], local.read(np.arange(LENGTH, 2 * LENGTH)))


def test_what_is_lost_in_a_bucket_is_refused_by_name(bucket, tmp_path):
    with pytest.raises(ValueError, match=rf"{bucket}/frames/own\.json does not exist"):
        FrameStore(f"{bucket}/frames/own.json")
    local = make_frames(tmp_path / "frames")
    upload(tmp_path, bucket)
    store = obstore.store.from_url(bucket)
    part = f"frames/own/{local.parts[0].key}.zarr"
    obstore.delete(store, f"{part}/frames/c/0/0/0/0")
    with pytest.raises(ValueError, match=rf"{bucket}/{part}/frames/c/0/0/0/0: the shard is missing"):
        FrameStore(f"{bucket}/frames/own.json").read(np.array([0]))
    obstore.delete(store, [str(one["path"]) for one in obstore.list(store, part).collect()])
    with pytest.raises(ValueError, match=rf"1 of 2 parts are missing, first {bucket}/{part}"):
        FrameStore(f"{bucket}/frames/own.json")


def test_a_cache_in_a_bucket_is_the_local_one(bucket, cache):  # noqa: F811
    local = ResidualMaps(cache)
    upload(cache.parent, bucket)
    remote = ResidualMaps(f"{bucket}/{cache.name}")
    assert (remote.digest, remote.scenes, remote.summary) == (local.digest, local.scenes, local.summary)
    frames = np.array([1, 0, local.num_frames - 1])
    for name in ("d_dino", "psnr", "window"):
        np.testing.assert_array_equal(remote.take(name, frames), local.take(name, frames))
    np.testing.assert_array_equal(remote.all("clusters"), local.all("clusters"))
    obstore.delete(obstore.store.from_url(bucket), f"{cache.stem}/{local.parts[1].path.name}/d_dino/c/0/0/0")
    with pytest.raises(ValueError, match=r"lacks the file d_dino/c/0/0/0"):
        ResidualMaps(f"{bucket}/{cache.name}").all("d_dino")


def test_paths_of_buckets_are_like_other_paths():
    path = located("s3://bucket/frames/own.json")
    assert isinstance(path, ObjectPath)
    assert str(path.with_suffix("") / "x.zarr") == "s3://bucket/frames/own/x.zarr"
    assert (path.name, path.stem, str(path.parent)) == ("own.json", "own", "s3://bucket/frames")
    assert not isinstance(located("frames/own.json"), ObjectPath)
    with pytest.raises(TypeError, match=r"s3://bucket/frames/own\.json is no local file"):
        os.fspath(path)
