"""Scenes with values of a wrong kind: each costs itself and never the split."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.test_readers import SIZE, Lvsm, chunk_scene, chunks, prepared


@pytest.fixture
def lvsm(tmp_path) -> Lvsm:
    return Lvsm(tmp_path / "raw")


def only_the_bad_one_is_skipped(raw: Lvsm, reason: str) -> None:
    report, store = prepared("lvsm", raw.folder)
    assert store.scenes == ["good"]
    assert report["reasons"] == {reason: 1}


NOT_FINITE, MALFORMED = "camera is not finite", "camera is missing or malformed"
SINGULAR, NO_FOCUS, PATH = "camera cannot be inverted", "camera has no focal length", "path cannot be used"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("image_path", "a\0b.png", PATH),
        ("image_path", "a" * 5000, PATH),
        ("image_path", "\ud800.png", PATH),
        ("image_path", ["a.png"], "image is missing"),
        ("fxfycxcy", [0, 1, 1, 1], NO_FOCUS),
        ("fxfycxcy", [1, -1, 1, 1], NO_FOCUS),
        ("fxfycxcy", [1, 1, 1, float("inf")], NOT_FINITE),
        ("fxfycxcy", [10**400, 1, 1, 1], MALFORMED),
        ("fxfycxcy", {"fx": 1}, MALFORMED),
        ("w2c", [["a"] * 4] * 4, MALFORMED),
        ("w2c", np.diag([1e200, 1e200, 1e200, 1]).tolist(), SINGULAR),
        ("transform_matrix", np.diag([1, 1, 0, 1]).tolist(), SINGULAR),
        ("transform_matrix", np.diag([1, 1, 1, 0]).tolist(), SINGULAR),
        ("transform_matrix", np.diag([1, 1, 1, float("nan")]).tolist(), NOT_FINITE),
    ],
)
def test_a_value_of_a_wrong_kind_costs_its_scene_alone(lvsm, key, value, reason):
    frames = lvsm.documents["bad"]["frames"]
    if key == "transform_matrix":
        for frame in frames:
            frame[key] = frame.pop("w2c")
    frames[1][key] = value
    lvsm.save()
    only_the_bad_one_is_skipped(lvsm, reason)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b'"text"', b'{"frames": {}}', None])
def test_a_scene_file_of_any_content_costs_its_scene_alone(lvsm, content):
    file = lvsm.folder / "metadata" / "bad.json"
    file.unlink()
    file.write_bytes(content) if content is not None else file.mkdir()
    only_the_bad_one_is_skipped(lvsm, "scene file cannot be read")


@pytest.mark.parametrize("line", ["..", "a\0b.json", "a" * 5000 + ".json"])
def test_a_line_of_the_list_that_is_no_path_costs_itself_alone(lvsm, line):
    lvsm.save(["metadata/good.json", line])
    report, store = prepared("lvsm", lvsm.folder)
    assert (store.scenes, report["scenes"]["skipped"]) == (["good"], 1)


def test_a_list_that_is_no_text_is_named(lvsm):
    (lvsm.folder / "full_list.txt").write_bytes(b"metadata/good.json\n\xff")
    with pytest.raises(ValueError, match=r"full_list\.txt is no text .*; download or process the split again"):
        prepared("lvsm", lvsm.folder)


def _saved(save: Callable[..., None], value: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, value)
    return stream.getvalue()


ARRAY = _saved(np.save, np.zeros((SIZE, SIZE), np.uint8))


@pytest.mark.parametrize(
    "content",
    [
        _saved(np.savez, np.zeros((SIZE, SIZE))),
        b"PK\3\4" + bytes(50),
        _saved(np.save, np.full((SIZE, SIZE), "a")),
        _saved(np.save, np.full((SIZE, SIZE), np.nan)),
        _saved(np.save, np.zeros((0, 0), np.uint8)),
        ARRAY[:-1],
        ARRAY.replace(b"(16, 16)", b"(10**9,)"),
        ARRAY.replace(b"(16, 16), }          ", b"(1600000000, 16000),}"),
        ARRAY.replace(b"(16, 16), }", b"(16, 16), ("),
    ],
)
def test_a_mask_file_of_any_content_costs_its_scene_alone(lvsm, content):
    lvsm.masks("bad")
    (lvsm.folder / "binary_masks" / "bad" / "00002.npy").write_bytes(content)
    only_the_bad_one_is_skipped(lvsm, "mask cannot be read")


NO_BYTES = "image cannot be decoded"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("cameras", "text", MALFORMED),
        ("cameras", [["a"] * 18] * 4, MALFORMED),
        ("cameras", [[1.0], [1.0, 2.0]], MALFORMED),
        ("cameras", torch.zeros(4, 18, dtype=torch.bfloat16), MALFORMED),
        ("cameras", torch.zeros(4, 18, requires_grad=True), MALFORMED),
        ("cameras", torch.zeros(4, 18), NO_FOCUS),
        ("cameras", torch.zeros(4, 18, device="meta"), MALFORMED),
        ("images", [torch.zeros(4, device="meta")] * 4, NO_BYTES),
        ("images", None, "images are no list"),
        ("images", {"a": 1}, "images are no list"),
        ("images", ["text"] * 4, NO_BYTES),
        ("images", [None] * 4, NO_BYTES),
        ("images", [[300]] * 4, NO_BYTES),
    ],
)
def test_a_part_of_a_wrong_kind_costs_its_scene_alone(tmp_path, key, value, reason):
    raw = chunks(tmp_path / "raw", [chunk_scene("a"), {**chunk_scene("b"), key: value}])
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["a"]
    assert report["reasons"] == {reason: 1}


@pytest.mark.parametrize("scene", [7, {"url": ""}, {**chunk_scene("b"), "key": 5}])
def test_an_entry_without_a_key_costs_itself_alone(tmp_path, scene):
    raw = chunks(tmp_path / "raw", [chunk_scene("a")])
    torch.save([chunk_scene("a"), scene], raw / "000000.torch")
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["a"]
    assert report["scenes"]["unlisted"] == 1
    (raw / "index.json").unlink()
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["a"]
    assert report["reasons"] == {"scene lacks a part": 1}
    assert json.dumps(report["skipped"]).count("number 1 of 000000.torch, without a key") == 2


@pytest.mark.parametrize("checked", [True, False])
def test_a_flipped_bit_in_a_chunk_is_noticed_where_it_has_checksums(tmp_path, checked):
    raw = chunks(tmp_path / "raw", [chunk_scene("a")])
    torch.serialization.set_crc32_options(checked)
    try:
        torch.save([chunk_scene("a")], raw / "000000.torch")
    finally:
        torch.serialization.set_crc32_options(True)
    assert prepared("pixelsplat", raw)[1].scenes == ["a"]
    content = bytearray((raw / "000000.torch").read_bytes())
    place = content.find(b"\xff\xd8\xff") + 300  # in a picture
    content[place] ^= 1
    (raw / "000000.torch").write_bytes(content)
    if checked:
        with pytest.raises(ValueError, match="chunk is damaged: 1"):
            prepared("pixelsplat", raw)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of git-LFS"),
        (b"<html>", "is a web page"),
        (bytes(1000), "begins with zeros"),
        (b"text", "no archive of torch.save, or truncated"),
        (_saved(lambda stream, value: torch.save(value, stream, _use_new_zipfile_serialization=False), [1]),
         "in the format of before PyTorch 1.6; rewrite it"),
    ],
)  # fmt: skip
def test_a_chunk_that_is_none_says_what_it_is(tmp_path, content, message):
    raw = chunks(tmp_path / "raw", [chunk_scene("a")], [chunk_scene("b")])
    (raw / "000001.torch").write_bytes(content)
    report, store = prepared("pixelsplat", raw)
    assert store.scenes == ["a"]
    assert f"000001.torch: {message}" in json.dumps(report["skipped"])
