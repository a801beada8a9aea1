"""Residual windows: cover, hand-written cases, the file."""

import json
from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wildrayzer.config.sections.masks import ResidualsConfig
from wildrayzer.data.frame_store.manifest import StorePart
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.windows import Window, WindowList, clip_windows


def build(lengths: list[int], inputs: int, targets: int) -> WindowList:
    store = MagicMock(spec=FrameStore, digest="d", offsets=np.cumsum([0, *lengths]))
    return WindowList.build(store, ResidualsConfig(inputs=inputs, targets=targets))


def test_a_clip_of_ten_frames_gives_its_even_and_its_odd_frames():
    assert clip_windows(3, 10, inputs=2, targets=6) == [
        Window(3, (1, 9), (0, 2, 4, 6, 8)),
        Window(3, (0, 8), (1, 3, 5, 7, 9)),
    ]


def test_further_inputs_lie_evenly_between_the_ends():
    assert clip_windows(0, 12, inputs=4, targets=6)[0] == Window(0, (1, 5, 7, 11), (0, 2, 4, 6, 8, 10))


def test_the_shortest_clip_gives_one_window_a_frame():
    assert clip_windows(0, 3, inputs=2, targets=6) == [
        Window(0, (1, 2), (0,)),
        Window(0, (0, 2), (1,)),
        Window(0, (0, 1), (2,)),
    ]
    with pytest.raises(ValueError, match=r"2 frames is too short for residuals.inputs = 2"):
        clip_windows(0, 2, inputs=2, targets=6)


@settings(deadline=None)
@given(length=st.integers(3, 90), inputs=st.integers(2, 4), targets=st.integers(1, 9))
def test_every_frame_is_a_target_exactly_once(length, inputs, targets):
    if length < inputs + 1:
        return
    windows = clip_windows(0, length, inputs=inputs, targets=targets)
    assert sorted(frame for window in windows for frame in window.targets) == list(range(length))
    for window in windows:
        assert len(set(window.inputs)) == inputs
        assert not set(window.inputs) & set(window.targets)
        assert 1 <= len(window.targets) <= targets
        assert 0 <= min(window.inputs) <= max(window.inputs) < length
        if targets >= 2 * inputs and length >= 2 * inputs + 2:
            # targets lie between the inputs, give or take the segment's own first and last frames
            assert min(window.inputs) - min(window.targets) <= 1
            assert max(window.targets) - max(window.inputs) <= 1


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=9), cut=st.integers(0, 9))
def test_the_windows_of_a_part_are_those_of_its_clips_alone(lengths, cut):
    cut = min(cut, len(lengths))
    windows = build(lengths, 3, 4)
    windows.check_cover()
    assert set(windows.skipped) == {scene for scene, length in enumerate(lengths) if length < 4}
    for first, own in ((0, lengths[:cut]), (cut, lengths[cut:])):
        part = StorePart("d", first, len(own), sum(lengths[:first]), sum(own), seed_frame=0)
        assert windows.of_part(part) == build(own, 3, 4)


def test_skips_say_why():
    assert build([2, 10], 2, 6).skipped == {0: "2 frames, residuals.inputs = 2 need 3"}


def test_a_broken_cover_is_found():
    good = build([10], 2, 6)
    lost = WindowList("d", 2, 6, (10,), good.windows[:1], {})
    with pytest.raises(ValueError, match="clip 0 are not each a target once"):
        lost.check_cover()
    own = WindowList("d", 2, 6, (10,), (Window(0, (0, 1), (0, 2)),), {})
    with pytest.raises(ValueError, match="repeats or leaves its frames"):
        own.check_cover()


def test_the_file_gives_back_the_same_list_and_refuses_changes(tmp_path):
    windows = build([10, 2, 31], 2, 6)
    file = tmp_path / "windows.json"
    windows.save(file)
    assert WindowList.load(file) == windows
    assert WindowList.load(file).digest == windows.digest
    document = json.loads(file.read_text())
    assert list(document["by_length"]) == ["10", "31"], "windows of each length stand there once"
    document["by_length"]["10"][0][0] = [3, 9]
    file.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="does not fit its digest"):
        WindowList.load(file)
    file.write_text(json.dumps({**document, "version": 0}))
    with pytest.raises(ValueError, match="version 0, not 2"):
        WindowList.load(file)


def test_files_of_version_1_and_lists_that_are_not_regular_are_read(tmp_path):
    """Version 1 lists the windows of every clip."""
    windows, file = build([10, 2, 10], 2, 6), tmp_path / "windows.json"
    listed = [[one.scene, one.inputs, one.targets] for one in windows.windows]
    document = {"version": 1, "store_digest": "d", "inputs": 2, "targets": 6, "lengths": [10, 2, 10]}
    skipped = {"1": "2 frames, residuals.inputs = 2 need 3"}
    file.write_text(json.dumps({**document, "skipped": skipped, "windows": listed, "digest": windows.digest}))
    assert WindowList.load(file) == windows
    own = replace(windows, windows=(Window(0, (1, 2), (0, 3)), *windows.windows[1:]))
    own.save(file)
    assert WindowList.load(file) == own
    assert json.loads(file.read_text())["version"] == 1
