"""Masks and renderings of other tools as files: kinds, endings, and what is refused."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from wildrayzer.evaluation.methods.external import MASK_SUFFIXES, RENDERING_SUFFIXES, ExternalFiles
from wildrayzer.evaluation.methods.outside_pictures import read_mask_file
from wildrayzer.io.digests import digest_folder

SIZE = 16


def test_the_digest_of_a_folder_ends_where_links_lead_in_circles(tmp_path):
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        for other in ("a", "b", "c"):
            (tmp_path / folder / f"to_{other}").symlink_to(tmp_path / other)
    (tmp_path / "itself").symlink_to(tmp_path)
    before = digest_folder(tmp_path)
    (tmp_path / "b" / "00000.png").touch()
    assert digest_folder(tmp_path) != before


def test_the_digest_of_a_folder_is_of_names_sizes_and_times(tmp_path):
    (tmp_path / "scene").mkdir()
    file = tmp_path / "scene" / "00000.png"
    file.write_bytes(b"one")
    os.utime(file, ns=(0, 10))
    first = digest_folder(tmp_path)
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "nowhere.png").symlink_to("absent")
    linked = digest_folder(tmp_path)
    (tmp_path / "nowhere.png").unlink()
    assert digest_folder(tmp_path) == first, "hidden files do not count"
    assert linked != first
    found = [first]
    for change in (
        lambda: os.utime(file, ns=(0, 11)),
        lambda: (file.write_bytes(b"four"), os.utime(file, ns=(0, 10))),
        lambda: file.rename(file.with_name("00001.png")),
        lambda: file.with_name("00001.png").unlink(),
    ):
        change()
        found.append(digest_folder(tmp_path))
    assert len(set(found)) == 5


@pytest.mark.parametrize("suffix", [".PNG", ".JPG", ".jpeg", ".JPEG", ".NPY"])
def test_endings_of_any_case_are_found(tmp_path, suffix):
    folder = tmp_path / "scene0"
    folder.mkdir()
    grey = np.full((SIZE, SIZE, 3), 51, np.uint8)
    if suffix == ".NPY":
        with (folder / f"00003{suffix}").open("wb") as stream:
            np.save(stream, grey.astype(np.float32) / 255)
    else:
        Image.fromarray(grey).save(folder / f"00003{suffix}")
    (found,) = ExternalFiles(tmp_path, RENDERING_SUFFIXES).renderings("scene0", [3], size=SIZE)
    np.testing.assert_allclose(found, 0.2, atol=1e-6)


def save_picture(path, array, mode=None, **options):
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(array)
    if mode is not None:
        image = image.convert(mode)
    image.save(path, **options)
    return ExternalFiles(path.parents[1], RENDERING_SUFFIXES)


SOME = np.zeros((SIZE, SIZE), np.uint8)
SOME[2:5, 3:9] = 1


def test_masks_of_every_kind_say_the_same(tmp_path):
    palette = Image.fromarray(SOME + np.uint8(SOME[::-1]) * 2).convert("P")
    palette.putdata((SOME * 7).ravel().tolist())
    palette.putpalette([200, 200, 200] + [0, 0, 0] * 255)  # bright where static, black where transient
    colours = np.stack([0 * SOME, 0 * SOME, SOME], axis=-1)  # a blue so dark that its grey rounds to black
    pictures = {
        "palette": palette, "bits": Image.fromarray(SOME * 255).convert("1"), "colours": Image.fromarray(colours),
        "deep": Image.fromarray(SOME.astype(np.uint16) * 256), "alpha": Image.fromarray(SOME).convert("RGBA"),
    }  # fmt: skip
    for name, picture in pictures.items():
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "00000.png")
    for dtype in (bool, np.int64, np.uint16):
        (tmp_path / np.dtype(dtype).name).mkdir()
        np.save(tmp_path / np.dtype(dtype).name / "00000.npy", SOME.astype(dtype))
    files = ExternalFiles(tmp_path, MASK_SUFFIXES)
    for folder in sorted(path.name for path in tmp_path.iterdir()):
        np.testing.assert_array_equal(files.masks(folder, [0], size=SIZE)[0], SOME, err_msg=folder)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (SOME.astype(np.int8) - 1, "holds -1, which may mean anything; store 0 = static, 1 = transient"),
        (np.where(SOME[::-1], 255, SOME).astype(np.uint8), "holds 1 and 255, where 255 seems to stand for unknown"),
        (SOME.astype(np.int16) - 1, "holds -1, which may mean anything; store 0 = static, 1 = transient"),
        (SOME.astype(np.float32) * 0.7, "float32; store integers or bool, 0 = static (threshold probabilities first)"),
        (np.full((SIZE, SIZE), np.nan), "float64; store integers or bool"),
    ],
)
def test_masks_that_are_none_are_refused(tmp_path, array, message):
    (tmp_path / "scene0").mkdir()
    np.save(tmp_path / "scene0" / "00000.npy", array)
    with pytest.raises(ValueError, match=re.escape(f"00000.npy: {message}")):
        ExternalFiles(tmp_path, MASK_SUFFIXES).masks("scene0", [0], size=SIZE)


def test_renderings_that_eight_opaque_bits_cannot_hold_are_refused(tmp_path):
    path = tmp_path / "scene0" / "00000.png"
    files = save_picture(path, SOME.astype(np.uint16) * 300)
    with pytest.raises(ValueError, match=r"00000\.png: a picture of mode I;16, which is more than 8 bits; store 8-bit"):
        files.renderings("scene0", [0], size=SIZE)
    save_picture(path, np.stack([SOME] * 3 + [255 - SOME], axis=-1))
    with pytest.raises(ValueError, match=r"00000\.png: has transparent pixels; store RGB without an alpha channel"):
        files.renderings("scene0", [0], size=SIZE)
    save_picture(path, SOME * 255)
    np.testing.assert_array_equal(files.renderings("scene0", [0], size=SIZE)[0], np.stack([SOME] * 3, axis=-1))


def test_damaged_arrays_are_named(tmp_path):
    path = tmp_path / "scene0" / "00000.npy"
    path.parent.mkdir()
    np.save(path, SOME)
    path.write_bytes(path.read_bytes().replace(b"}", b"("))
    with pytest.raises(ValueError, match=r"00000\.npy: cannot be read: .*; write it again"):
        ExternalFiles(tmp_path, MASK_SUFFIXES).masks("scene0", [0], size=SIZE)


def annotations(root, mask, *, void=None):
    """A mask as palette PNG of frame 0 of `scene0` in the layout of DAVIS; `void` is marked 255."""
    path = root / "Annotations" / "480p" / "scene0" / "00000.png"
    path.parent.mkdir(parents=True)
    numbers = mask * np.uint8(3)
    if void is not None:
        numbers[void] = 255
    image = Image.fromarray(numbers)
    image.putpalette([0, 0, 0] * 256)
    image.save(path)
    return path


def test_masks_in_the_layout_of_davis_are_found_and_void_is_unknown(tmp_path):
    annotations(tmp_path, SOME, void=(slice(0, 1), slice(0, 4)))
    (found,) = ExternalFiles(tmp_path, MASK_SUFFIXES).masks("scene0", [0], size=SIZE)
    np.testing.assert_array_equal(found[1:], SOME[1:])
    assert found[0, :4].tolist() == [255] * 4


def test_masks_of_the_recorded_frame_are_fitted_like_it(tmp_path):
    whole = np.zeros((SIZE, 2 * SIZE), np.uint8)
    whole[:, SIZE // 2 : SIZE // 2 + SIZE] = SOME  # the central square
    path = annotations(tmp_path, whole)
    found = read_mask_file(path, SIZE, recorded=(2 * SIZE, SIZE), void=True)
    np.testing.assert_array_equal(found, SOME)
    np.save(tmp_path / "whole.npy", whole)
    np.testing.assert_array_equal(read_mask_file(tmp_path / "whole.npy", SIZE, recorded=(2 * SIZE, SIZE)), SOME)
    for recorded, also in (
        (None, ""),
        ((SIZE, 2 * SIZE), rf" \(or \({2 * SIZE}, {SIZE}\) for the whole recorded frame\)"),
    ):
        with pytest.raises(ValueError, match=rf"00000\.png: the mask has shape .* need \({SIZE}, {SIZE}\){also}; crop"):
            read_mask_file(path, SIZE, recorded=recorded, void=True)
