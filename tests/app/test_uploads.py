"""Uploads: what is read, how it is cropped, and what is refused before it is decoded."""

import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.helpers.clips import truncated, write_clip
from wildrayzer.app import uploads
from wildrayzer.app.uploads import preview, read_uploads


def photo(path, size=(60, 40), colour=(200, 100, 40)):
    Image.new("RGB", size, colour).save(path)
    return path


def refused(paths, words, frames=5):
    with pytest.raises(ValueError, match=words) as caught:
        read_uploads(paths, image_size=24, frames=frames)
    return str(caught.value)


def png_that_claims(path, width, height):
    """A PNG of a few bytes whose header claims many pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    return path


def test_photos_come_in_the_order_of_their_names_and_are_cropped(tmp_path):
    pictures = read_uploads([photo(tmp_path / "b.png"), photo(tmp_path / "a.jpg")], image_size=24, frames=5)
    assert [one.name for one in pictures] == ["a.jpg", "b.png"]
    assert pictures[0].view.image.shape == (24, 24, 3)
    assert pictures[0].view.recorded == (60, 40)


def test_the_preview_darkens_what_the_crop_leaves_out():
    shown = preview(np.full((48, 96, 3), 200, np.uint8), 48)
    assert shown.shape == (192, 384, 3)
    # 96 px wide, 48 are kept from 24 on; four times as large here
    assert (shown[:, :96] == 50).all()
    assert (shown[:, 96:288] == 200).all()
    assert (shown[:, 288:] == 50).all()


def test_frames_are_spread_over_a_video(tmp_path):
    pictures = read_uploads([write_clip(tmp_path / "walk.mp4", 9)], image_size=24, frames=3)
    assert [one.name for one in pictures] == ["walk.mp4 at 0.00 s", "walk.mp4 at 0.40 s", "walk.mp4 at 0.80 s"]


def test_numbers_and_kinds_of_files_are_bounded(tmp_path):
    one, film = photo(tmp_path / "a.png"), write_clip(tmp_path / "a.mp4", 5)
    page = tmp_path / "a.svg"
    page.write_text("<svg onload='alert(1)'/>", encoding="utf-8")
    refused([one], "1 photos: give 2 to 24 photos")
    refused([photo(tmp_path / f"{n}.png") for n in range(25)], "25 photos: give 2 to 24")
    refused([one, film], "1 photos and 1 videos: give either photos, or one video")
    refused([one, page], "a.svg is of a kind that is not read; photos are .png")


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "read_image", lambda path: pytest.fail("it was decoded"))
    ones = photo(tmp_path / "a.png")
    refused([ones, png_that_claims(tmp_path / "b.png", 10000, 10000)], "b.png has 100 megapixels; up to 50 are taken")
    refused([ones, png_that_claims(tmp_path / "b.png", 65000, 65000)], "b.png has .* megapixels; up to 50 are taken")


def test_an_hour_of_video_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "evenly_spread", lambda path, frames: pytest.fail("it was decoded"))
    hour = write_clip(tmp_path / "hour.mp4", 61, rate=1, size=(32, 32), noise=True)
    refused([hour], "hour.mp4 is longer than 30 s")
    monkeypatch.setattr(uploads, "MOST_VIDEO_FRAMES", 40)
    fast = write_clip(tmp_path / "fast.mp4", 50, rate=50, size=(32, 32), noise=True)
    refused([fast], "fast.mp4 is longer than 30 s, or has more than 40 frames; cut out the part")


def test_frames_beyond_4k_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_VIDEO_MEGAPIXELS", 0.001)
    refused([write_clip(tmp_path / "wide.mp4", 3)], "wide.mp4 has frames larger than 4K")


def test_damaged_files_are_named_without_the_servers_folders(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    text = refused([photo(tmp_path / "a.png"), broken], "broken.png: is not an image file")
    assert str(tmp_path) not in text
    text = refused([truncated(write_clip(tmp_path / "cut.mp4", 30, noise=True))], "cut.mp4")
    assert str(tmp_path) not in text


def test_a_name_is_shown_without_control_characters_and_not_endlessly(tmp_path):
    odd = tmp_path / ("x\u202e" + "y" * 150 + ".txt")
    odd.write_bytes(b"")
    text = refused([odd], "is of a kind that is not read")
    assert re.match(r"x\\u202ey+…y+\.txt is", text)
    assert len(text.split(" is of a kind")[0]) < 60
