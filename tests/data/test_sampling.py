"""View sampling: draws, samples, evaluation windows."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.config.sections.views import ViewsConfig
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm
from wildrayzer.data.sampling.index_file import read_index
from wildrayzer.data.sampling.views import ViewDataset, draw_views, evaluation_windows


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    """Clips of 10, 4 and 12 frames; every pixel of frame f is (f, 100 + column, 200)."""
    path = tmp_path_factory.mktemp("store") / "a.zarr"
    number = 0
    with FrameStoreWriter(path, StoreForm(8, StoreConfig(), cameras=False)) as writer:
        for scene, length in enumerate((10, 4, 12)):
            frames = np.zeros((length, 8, 8, 3), np.uint8)
            frames[..., 0] = np.arange(number, number + length)[:, None, None]
            frames[..., 1] = 100 + np.arange(8)
            frames[..., 2] = 200 + np.arange(8)[:, None]
            writer.add_scene(f"s{scene}", frames)
            number += length
    return FrameStore(path, preload_mb=1)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32), inputs=st.integers(1, 4), targets=st.integers(1, 6),
    extra=st.integers(0, 20), spare=st.integers(0, 30), shuffle=st.booleans(),
)  # fmt: skip
def test_ends_come_first_and_the_rest_lies_between(seed, inputs, targets, extra, spare, shuffle):
    least = inputs + targets - 1
    views = ViewsConfig(
        inputs=(inputs,), targets=targets, min_distance=3, max_distance=least + 3 + extra, shuffle=shuffle
    )
    length = max(least, 3) + 1 + spare
    drawn = draw_views(np.random.default_rng(seed), length, inputs=inputs, views=views)
    assert len(drawn) == len(set(drawn.tolist())) == inputs + targets
    low, high = sorted(drawn[:2])
    assert max(3, least) <= high - low <= min(views.max_distance, length - 1)
    assert low >= 0
    assert high < length
    assert ((drawn[2:] > low) & (drawn[2:] < high)).all()
    if not shuffle:
        assert drawn[0] < drawn[1]
        assert (np.diff(drawn[2:inputs]) > 0).all()
        assert (np.diff(drawn[max(2, inputs) :]) > 0).all()


def test_draws_reach_everything():
    views = ViewsConfig(inputs=(2,), targets=2, min_distance=3, max_distance=9)
    drawn = np.stack([draw_views(np.random.default_rng(n), 8, inputs=2, views=views) for n in range(600)])
    distance = drawn[:, 1] - drawn[:, 0]
    assert set(np.abs(distance)) == {3, 4, 5, 6, 7}
    assert 0.4 < (distance > 0).mean() < 0.6
    assert set(drawn[:, 0]) == set(range(8))
    assert 0.4 < (drawn[:, 2] < drawn[:, 3]).mean() < 0.6


def test_a_clip_too_short_is_refused_with_the_remedy():
    views = ViewsConfig(inputs=(2,), targets=6, min_distance=3, max_distance=9)
    with pytest.raises(ValueError, match="clip of 7 frames has no 8 views at a distance of 7 to 9; lower views"):
        draw_views(np.random.default_rng(0), 7, inputs=2, views=views)


def test_samples_follow_from_seed_epoch_scene_and_inputs_alone(store):
    views = ViewsConfig(inputs=(2, 3), targets=4, min_distance=3, max_distance=9, mirror=True, permute_colours=True)
    one, two = ViewDataset(store, views, seed=5), ViewDataset(store, views, seed=5)
    two.sample(0, 0, 2)  # what was drawn before does not matter
    assert np.array_equal(one.sample(3, 2, 3)["images"], two.sample(3, 2, 3)["images"])
    others = [(4, 2, 3), (3, 0, 3), (3, 2, 2)]
    frames = one.sample(3, 2, 3)["frames"].tolist()
    assert all(one.sample(*other)["frames"].tolist() != frames for other in others)
    assert ViewDataset(store, views, seed=6).sample(3, 2, 3)["frames"].tolist() != frames
    assert one.usable.tolist() == [0, 2]
    assert one.skipped == {"fewer than 7 frames": 1}
    assert one.usable_scenes(4 + 8).tolist() == [2]


def test_augmentation_turns_all_views_and_their_masks_alike(store):
    views = ViewsConfig(
        inputs=(2,), targets=3, min_distance=3, max_distance=9, mirror=True, flip=True, permute_colours=True
    )
    source = ViewDataset(store, views, seed=0)
    seen = set()
    for epoch in range(60):
        sample = source.sample(epoch, 0, 2)
        images, done = sample["images"], sample["augmentation"]
        assert images.flags.c_contiguous
        plain = store.read(sample["frames"])
        by_hand = plain[..., list(done.colours)]
        by_hand = by_hand[:, :, ::-1] if done.mirror else by_hand
        by_hand = by_hand[:, ::-1] if done.flip else by_hand
        assert np.array_equal(images, by_hand)
        masks = sample["augment"](plain[..., 1] % 2)
        assert np.array_equal(masks, images[..., done.colours.index(1)] % 2)
        seen.add((done.mirror, done.flip, done.colours))
    assert len(seen) > 15  # of 24
    still = ViewsConfig(inputs=(2,), targets=3, min_distance=3, max_distance=9)
    sample = ViewDataset(store, still, seed=0).sample(0, 0, 2)
    assert np.array_equal(sample["images"], store.read(sample["frames"]))


def test_a_store_of_short_clips_is_refused(store):
    views = ViewsConfig(inputs=(2,), targets=3, min_distance=25, max_distance=192)
    with pytest.raises(ValueError, match=r"no clip has the 26 frames that views\.min_distance = 25"):
        ViewDataset(store, views, seed=0)


def test_evaluation_windows_are_one_a_scene_and_in_order(store):
    windows = evaluation_windows(store, inputs=3, targets=4, min_distance=6, seed=0)
    assert [window.scene for window in windows] == [0, 2]
    assert windows.skipped == {"s1": "4 frames, 7 are needed"}
    for window in windows:
        low, high, third = window.inputs
        assert high - low >= 6
        assert low < third < high
        assert list(window.targets) == sorted(window.targets)
    assert evaluation_windows(store, inputs=3, targets=4, min_distance=6, seed=0) == windows
    with pytest.raises(ValueError, match="no clip has the 21 frames"):
        evaluation_windows(store, inputs=2, targets=4, min_distance=20, seed=0)


def test_an_index_file_decides_and_is_checked(store, tmp_path):
    file = tmp_path / "index.json"

    def read(index: dict):
        file.write_text(json.dumps(index))
        return evaluation_windows(store, inputs=2, targets=1, min_distance=1, seed=0, index_file=file)

    windows = read({"s2": {"context": [0, 9], "target": [3, 4]}, "s0": None})
    assert [(w.scene, w.inputs, w.targets) for w in windows] == [(2, (0, 9), (3, 4))]
    assert windows.skipped == {"s0": "left out by the index file", "s1": "not in the index file"}
    with pytest.raises(ValueError, match=r"scenes that are not in .* nowhere \(1 of 1\)\. .*intersect_index: true"):
        read({"nowhere": None})
    for frame in (-1, "2", True):
        with pytest.raises(ValueError, match=re.escape(f"scene s1 has no frame {frame!r}; frames are numbered from 0")):
            read({"s1": {"context": [0, frame], "target": [1]}})
    too_short = "beyond the end of 1 clips: s1 has 4 frames, the index file asks for frame 4. "
    with pytest.raises(ValueError, match=re.escape(too_short)):
        read({"s1": {"context": [0, 4], "target": [1]}})
    for views in ({"context": [0, 1]}, [0, 1], {"context": [0, 1], "target": []}):
        with pytest.raises(ValueError, match=r'scene s0 is .*; write \{"context": \[numbers\]'):
            read({"s0": views})
    with pytest.raises(ValueError, match="leaves out every scene"):
        read({"s0": None})
    with pytest.raises(ValueError, match=r'index\.json is no map of scenes; write \{"SCENE"'):
        read([1])
    for key in ("context", "target"):
        views = {"context": [0, 9], "target": [3, 4], key: [5, 2, 5]}
        with pytest.raises(
            ValueError, match=rf"index\.json: scene s0 has frame 5 twice in '{key}'; name every frame once"
        ):
            read({"s0": views})


def test_what_an_index_file_and_its_split_share_is_scored_on_request(store, tmp_path, caplog):
    """Scenes named by the paths of another machine are found by their names; s1 has 4 frames."""
    views = {"context": [0, 9], "target": [4]}
    names = ("/scratch/them/metadata/s0.json", "C:\\data\\s1.json", "away", "null.json")
    file = tmp_path / "index.json"
    file.write_text(json.dumps({name: None if name == "null.json" else views for name in names}))
    with pytest.raises(ValueError, match=r"not in .*: away, null \(2 of 4\); and asks .* 1 clips: s1 has 4 frames"):
        read_index(store, file)
    windows = read_index(store, file, intersect=True)
    assert windows.entries(store.scenes) == {"s0": views}
    assert windows.skipped == {"s1": "4 frames, the index file asks for frame 9", "s2": "not in the index file"}
    assert windows.unused == 2
    assert f"of its 4 scenes, {store.path} lacks 1, and 1 are too short there" in caplog.text
    file.write_text(json.dumps({"a/s0.json": views, "b/s0.json": views}))
    with pytest.raises(ValueError, match=r"names scene s0 twice; name every scene once"):
        read_index(store, file)


def test_a_target_among_the_inputs_is_scored_as_published_and_said(store, tmp_path, caplog):
    file = tmp_path / "index.json"
    file.write_text(json.dumps({"s0": {"context": [0, 9], "target": [9]}, "s2": {"context": [0, 9], "target": [3]}}))
    windows = evaluation_windows(store, inputs=2, targets=1, min_distance=1, seed=0, index_file=file)
    assert [(w.inputs, w.targets) for w in windows] == [((0, 9), (9,)), ((0, 9), (3,))]
    assert "1 of 2 windows have a target among their inputs, such as s0" in caplog.text
