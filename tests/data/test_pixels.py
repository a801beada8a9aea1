"""Image files of every kind as 8-bit RGB."""

import io
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from wildrayzer.data.ingest.clips import IngestOptions
from wildrayzer.data.ingest.write import ingest
from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.data.readers.pixels import BROKEN_EXIF, BROKEN_PROFILE, MOST_PIXELS, TRANSPARENT, decode, decode_file

CASES = Path(__file__).parents[1] / "resources" / "cases"


def coded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_of_grey_are_scaled_to_eight(suffix):
    wide = np.array([[0, 128, 129, 257, 1000, 32768, 65407, 65535]], np.uint16)
    image = decode(cv2.imencode(suffix, wide)[1].tobytes(), where="a")
    # 128 / 257 = 0.498, 129 / 257 = 0.502, 1000 / 257 = 3.89, 32768 / 257 = 127.5019, 65407 / 257 = 254.502
    assert np.asarray(image).tolist() == [[[value] * 3 for value in (0, 0, 1, 1, 4, 128, 255, 255)]]


def test_either_order_of_bytes_is_read():
    wide = np.arange(0, 65536, 257, dtype=np.uint16)[None]
    for mode, order in (("I;16", "<u2"), ("I;16B", ">u2")):
        payload = coded(Image.frombytes(mode, (256, 1), wide.astype(order).tobytes()), "TIFF")
        assert np.asarray(decode(payload, where="a"))[0, :, 1].tolist() == list(range(256))


def test_eight_bits_in_sixteen_are_the_same_in_grey_and_in_colour():
    wide = (np.arange(256, dtype=np.uint16) * 257)[None]
    grey, colour = (
        np.asarray(decode(cv2.imencode(".png", image)[1].tobytes(), where="a"))
        for image in (wide, np.dstack([wide] * 3))
    )
    assert np.array_equal(grey, colour)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_values_without_a_known_white_are_refused(kind):
    payload = coded(Image.fromarray(np.ones((4, 4), kind)), "TIFF")
    with pytest.raises(BadSceneError, match=r"image has no known range: a: .* convert it to 8 or 16 bits a channel"):
        decode(payload, where="a")


def test_what_is_transparent_is_shown_on_white_and_counted():
    layers = np.zeros((1, 3, 4), np.uint8)
    layers[..., 0], layers[..., 3] = 200, [0, 51, 255]
    odd = Counter()
    image = decode(coded(Image.fromarray(layers)), where="a", odd=odd)
    # 51 / 255 = 0.2: red 0.2 · 200 + 0.8 · 255 = 244, the others 0.8 · 255 = 204
    assert np.asarray(image)[0].tolist() == [[255, 255, 255], [244, 204, 204], [200, 0, 0]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    palette.putpalette([9, 9, 9, 8, 8, 8])
    assert np.asarray(decode(coded(palette, transparency=0), where="b", odd=odd))[0].tolist() == [[255] * 3, [8] * 3]
    layers[..., 3] = 255
    assert np.array_equal(np.asarray(decode(coded(Image.fromarray(layers)), where="c", odd=odd)), layers[..., :3])
    assert odd == {TRANSPARENT: 2}


def with_exif(path: Path, payload: bytes) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=payload)
    return pixels


@pytest.mark.parametrize("orientation", range(10))
def test_every_exif_orientation_is_made_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = with_exif(tmp_path / "a.png", exif.tobytes())
    # EXIF 2.32, 4.6.4: which side of the picture the first row and the first column of the file show
    shown = {
        2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.swapaxes(0, 1),
        6: pixels.swapaxes(0, 1)[:, ::-1], 7: pixels[::-1, ::-1].swapaxes(0, 1), 8: pixels.swapaxes(0, 1)[::-1],
    }.get(orientation, pixels)  # fmt: skip
    assert np.array_equal(np.asarray(decode_file(tmp_path / "a.png", upright=True)), shown)
    assert np.array_equal(np.asarray(decode_file(tmp_path / "a.png")), pixels)


def test_exif_data_that_are_broken_do_not_stop_an_image(tmp_path):
    pixels = with_exif(tmp_path / "a.webp", b"no header of TIFF")
    odd = Counter()
    assert decode_file(tmp_path / "a.webp", upright=True, odd=odd).size == pixels.shape[1::-1]
    assert odd == {BROKEN_EXIF: 1}


def test_a_file_that_cannot_be_opened_is_a_bad_image(tmp_path):
    with pytest.raises(BadSceneError, match=r"image cannot be read: .*a\.png: Is a directory"):
        decode_file((tmp_path / "a.png").mkdir() or tmp_path / "a.png")


def test_ingest_says_what_was_odd_about_images(tmp_path):
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in range(4):
        with_exif(folder / f"{number}.webp", b"no header of TIFF" if number else b"")
    Image.new("RGBA", (6, 4), (0, 0, 0, 0)).save(folder / "4.png")
    report = ingest([folder], tmp_path / "out", IngestOptions())
    assert list(report.sources[0].remarks) == [f"3 images {BROKEN_EXIF}", f"1 images {TRANSPARENT}"]


def display_p3() -> bytes:
    """A profile whose primaries are those of Display P3, as a matrix profile of version 2 (ICC.1:2001-04, 8.3.4)."""

    def fixed(*values: float) -> bytes:
        return b"".join(round(value * 65536).to_bytes(4, "big", signed=True) for value in values)

    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(2.2 * 256).to_bytes(2, "big") + bytes(2)
    name = b"Display P3\0"
    tags = {
        b"desc": b"desc" + bytes(4) + len(name).to_bytes(4, "big") + name + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249),
        b"rXYZ": b"XYZ " + bytes(4) + fixed(0.5151, 0.2412, -0.0011),
        b"gXYZ": b"XYZ " + bytes(4) + fixed(0.2920, 0.6922, 0.0419),
        b"bXYZ": b"XYZ " + bytes(4) + fixed(0.1571, 0.0666, 0.7841),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    place, table, body = 128 + 4 + 12 * len(tags), len(tags).to_bytes(4, "big"), b""
    for key, content in tags.items():
        content += bytes(-len(content) % 4)
        table += key + (place + len(body)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        body += content
    head = bytearray(128)
    head[:4], head[8:12], head[12:24] = (place + len(body)).to_bytes(4, "big"), b"\2\x10\0\0", b"mntrRGB XYZ "
    head[36:40], head[68:80] = b"acsp", fixed(0.9642, 1.0, 0.8249)
    return bytes(head) + table + body


def test_colours_of_a_phones_profile_become_srgb():
    # Full red of Display P3 lies outside sRGB: clipped to 255, 0, 0. Half green (0.5, 0.5, 0.5) stays grey.
    pixels = np.array([[[255, 0, 0], [128, 128, 128], [200, 100, 50]]], np.uint8)
    payload = coded(Image.fromarray(pixels), icc_profile=display_p3())
    odd = Counter()
    red, grey, brown = np.asarray(decode(payload, where="a", upright=True, odd=odd))[0].astype(int)
    assert np.abs(red - [255, 0, 0]).max() <= 1
    assert np.abs(grey - 128).max() <= 2
    assert brown[0] > 205
    assert brown[2] < 45
    assert odd == {"have colours of the profile 'Display P3', converted to sRGB": 1}
    assert np.array_equal(np.asarray(decode(payload, where="a")), pixels), "a data set keeps its values"


def test_a_profile_of_other_colours_is_not_applied_and_said():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    odd: Counter[str] = Counter()
    payload = coded(Image.new("L", (2, 2), 84), icc_profile=lab)
    assert np.asarray(decode(payload, where="a", upright=True, odd=odd))[0, 0].tolist() == [84, 84, 84]
    assert odd == {"have a colour profile of Lab colours, which is not applied": 1}


def test_pictures_with_alpha_or_a_palette_have_their_profile_applied():
    flat = Image.new("RGB", (2, 2), (204, 51, 51))
    rgb, *others = (
        np.asarray(decode(coded(flat.convert(mode), icc_profile=display_p3()), where="a", upright=True))
        for mode in ("RGB", "RGBA", "P")
    )
    assert rgb[0, 0, 0] > 204, "the red of Display P3 is stronger"
    assert all(np.array_equal(other, rgb) for other in others)


def test_a_broken_profile_leaves_the_colours():
    pixels = np.array([[[200, 100, 50]]], np.uint8)
    odd = Counter()
    payload = coded(Image.fromarray(pixels), icc_profile=b"no profile")
    assert np.array_equal(np.asarray(decode(payload, where="a", upright=True, odd=odd)), pixels)
    assert odd == {BROKEN_PROFILE: 1}


@pytest.mark.parametrize("name", ["damaged-1.avif.jpg", "damaged-2.avif.jpg"])
def test_damaged_avif_is_a_bad_image(name):
    with pytest.raises(BadSceneError, match=rf"image cannot be decoded: .*{name}: "):
        decode_file(CASES / name)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of git-LFS"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (bytes(600), "begins with zeros"),
        (b"text", "is not an image file"),
    ],
)
def test_what_stands_in_for_an_image_is_said(payload, message):
    with pytest.raises(BadSceneError, match=f"a: {message}"):
        decode(payload, where="a")


def test_photos_of_200_megapixels_are_taken_and_bombs_are_not():
    assert Image.new("L", (16320, 12240)).size[0] * 12240 < MOST_PIXELS
    picture = Image.new("1", (30000, 30000))
    with pytest.raises(BadSceneError, match="exceeds limit"):
        decode(coded(picture), where="a")
