"""Own media as devices make them: HEIC, animations, high dynamic range, cuts, sharp frames and chosen windows."""

import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pillow_heif
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.helpers.clips import RED, frame, photos, truncated, write_clip
from wildrayzer.cli.main import app
from wildrayzer.data.ingest.clips import IngestOptions
from wildrayzer.data.ingest.media.animation import animated_frames, is_animated, spread
from wildrayzer.data.ingest.media.crop import outlined, place_of, window
from wildrayzer.data.ingest.media.sampling import Decoded, SamplingOptions, VideoNotes, sampled, sharpness
from wildrayzer.data.ingest.media.video import video_frames
from wildrayzer.data.ingest.sources import find_sources
from wildrayzer.data.ingest.views import read_views
from wildrayzer.data.ingest.write import ingest
from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.data.readers.pixels import decode_file
from wildrayzer.images.tone import to_sdr

COLOURS = ((200, 40, 40), (60, 60, 60), (230, 220, 200), (30, 30, 120), (10, 10, 10))


def call(*words: object):
    return CliRunner().invoke(app, ["data", "ingest", *map(str, words)])


def document(folder: Path):
    return json.loads((folder / "ingest.json").read_text())


def film(path: Path, pictures: list[np.ndarray], *, rate: int = 10, codec: str = "libx264", **properties) -> Path:
    """A video of these pictures, RGB of 8 bits, or of 16 bits in 10-bit coding."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "1"})
        stream.height, stream.width = pictures[0].shape[:2]
        deep = pictures[0].dtype == np.uint16
        stream.pix_fmt = "yuv444p10le" if deep else "yuv420p"
        for name, value in properties.items():
            setattr(stream.codec_context, name, value)
        for picture in pictures:
            made = av.VideoFrame.from_ndarray(picture, format="rgb48le" if deep else "rgb24")
            if properties:
                made = made.reformat(format=stream.pix_fmt, dst_colorspace="BT2020")
                made.color_trc, made.colorspace = properties["color_trc"], properties["colorspace"]
            container.mux(stream.encode(made))
        container.mux(stream.encode())
    return path


def shots(lengths: list[int], size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """Pictures of shots of one colour each."""
    pictures = []
    for number, length in enumerate(lengths):
        picture = np.full((size[1], size[0], 3), COLOURS[number % len(COLOURS)], np.uint8)
        pictures += [picture] * length
    return pictures


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".mpo", ".jpg"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_photos_of_phones_are_upright(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(frame(20)).save(tmp_path / f"a{suffix}", quality=95, exif=exif.tobytes())
    image = np.asarray(decode_file(tmp_path / f"a{suffix}", upright=True))
    # orientation 6: the first row is shown at the right, the first column at the top
    assert image.shape == ((32, 64, 3) if orientation == 1 else (64, 32, 3))
    corner = image[4, 4] if orientation == 1 else image[4, -4]
    np.testing.assert_allclose(corner, RED, atol=12)
    np.testing.assert_allclose(image[-4, 4], 160, atol=12)


def test_heic_and_jpeg_of_one_phone_are_one_recording(tmp_path):
    folder = photos(tmp_path / "phone", ["1.jpg", "2.heic", "3.jpg", "4.avif"], size=(64, 32))
    result = call(folder, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (
        document(tmp_path / "out")["totals"] | {"used": 1, "frames": 4, "left_over": 0}
        == document(tmp_path / "out")["totals"]
    )


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_heic_is_said_by_name(tmp_path, share):
    folder = photos(tmp_path / "phone", ["1.heic", "2.heic", "3.heic"], size=(64, 32))
    truncated(folder / "2.heic", share)
    others = photos(tmp_path / "whole", ["1.png", "2.png", "3.png"])
    result = call(folder, others, "--out", tmp_path / "out")
    assert result.exit_code == 1
    found = "is a truncated or damaged HEIC or AVIF file" if share < 0.5 else "Invalid input: Unexpected end of file"
    assert f"{folder / '2.heic'}: {found}" in result.stderr
    assert [source["name"] for source in document(tmp_path / "out")["sources"]] == ["whole"]


def test_jpeg_xl_is_taken_where_pillow_reads_it_and_else_named(tmp_path):
    folder = photos(tmp_path / "a", ["1.png", "2.png", "3.png"])
    (folder / "4.jxl").write_bytes(b"\xff\x0a")
    found = find_sources([folder])
    if ".jxl" in Image.registered_extensions():
        assert len(found.sources[0].images) == 4
    else:
        assert found.left_out[folder / "4.jxl"].startswith(".jxl files are not read")


@pytest.mark.parametrize(("transfer", "signal"), [(18, 0.75), (16, 0.58069)])
def test_a_white_page_is_almost_white(transfer, signal):
    # 203 cd/m² in either coding (BT.2408), which the curve takes to 0.7532, and the gamma of sRGB to 225
    coded = np.full((1, 2, 3), round(signal * 65535), np.uint16)
    coded[0, 1] = 0
    np.testing.assert_array_equal(to_sdr(coded, transfer), [[[225] * 3, [0] * 3]])


def test_the_brightest_is_white_and_the_middle_stays():
    # PQ of 1000 and 4000 cd/m², and of 20.3: a tenth of white, which sRGB codes as 0.349 · 255
    coded = np.array([[[0.7518] * 3, [0.9026] * 3, [0.3583] * 3]])
    found = to_sdr(np.round(coded * 65535).astype(np.uint16), 16)
    np.testing.assert_allclose(found[0, :, 0], [255, 255, 89], atol=1)
    eight = to_sdr(np.round(coded * 255).astype(np.uint8), 16)
    np.testing.assert_allclose(eight[0, :, 0], [255, 255, 89], atol=2)


def test_colours_of_a_wide_gamut_stay_what_they_are():
    # BT.2020's code values of sRGB's red at half the light of white: 0.6274, 0.0691, 0.0164 of it, in PQ
    light = np.array([0.6274, 0.0691, 0.0164]) * 101.5 / 10000
    power = light ** (2610 / 16384)
    coded = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    found = to_sdr(np.round(coded * 65535).astype(np.uint16)[None, None], 16)
    np.testing.assert_allclose(found[0, 0], [188, 0, 0], atol=2)


@pytest.mark.parametrize(("name", "transfer"), [("HLG", 18), ("PQ", 16)])
def test_high_range_video_is_mapped(tmp_path, name, transfer):
    white = round({18: 0.75, 16: 0.58069}[transfer] * 65535)
    picture = np.zeros((48, 64, 3), np.uint16)
    picture[:, 32:] = white
    path = film(tmp_path / "a.mov", [picture] * 4, codec="libx265", color_trc=transfer, color_primaries=9, colorspace=9)
    notes = VideoNotes()
    (_, image), *_ = video_frames(path, SamplingOptions(0.0), notes)
    np.testing.assert_allclose(image[10, 50], 225, atol=2)
    np.testing.assert_allclose(image[10, 10], 0, atol=2)
    assert notes.remarks == [f"high dynamic range ({name}) is mapped to sRGB; check the colours"]


def test_high_range_heic_is_mapped(tmp_path):
    white = np.full((32, 64, 3), round(0.75 * 255), np.uint8)
    made = pillow_heif.from_pillow(Image.fromarray(white))
    made.save(tmp_path / "a.hif", quality=95, color_primaries=9, transfer_characteristics=18, matrix_coefficients=9)
    odd: Counter[str] = Counter()
    image = np.asarray(decode_file(tmp_path / "a.hif", upright=True, odd=odd))
    np.testing.assert_allclose(image, 225, atol=4)
    assert list(odd) == ["have a high dynamic range (HLG), which is mapped to sRGB"]


def test_clips_end_at_cuts(tmp_path):
    path = film(tmp_path / "a.mp4", shots([8, 4, 12]))
    report = ingest([path], tmp_path / "out", IngestOptions(fps=5.0, clip_length=6, min_frames=3))
    # intervals begin again at each cut: 4, 2 and 6 frames; the second shot is too short for a clip
    (source,) = report.sources
    assert (source.taken, source.used, source.left_over) == (12, 10, 2)
    assert source.remarks == ("2 cuts: a new clip begins at each cut (--no-cuts ignores them)",)
    times = [[one["time"] for one in json.loads((tmp_path / "out" / "metadata" / f"{clip}.json").read_text())["frames"]]
             for clip in source.clips]  # fmt: skip
    assert times == [[0.0, 0.2, 0.4, 0.6], [1.2, 1.4, 1.6, 1.8, 2.0, 2.2]]
    whole = ingest([path], tmp_path / "whole", IngestOptions(fps=5.0, clip_length=12, cuts=False))
    assert (whole.sources[0].used, whole.sources[0].remarks) == (12, ())


def test_motion_and_noise_are_no_cuts(tmp_path):
    notes = VideoNotes()
    list(video_frames(write_clip(tmp_path / "a.mp4"), SamplingOptions(0.0, cuts=True), notes))
    assert (notes.cuts, notes.jumps) == (0, [])


def test_a_video_that_is_all_cuts_is_said(tmp_path):
    path = film(tmp_path / "a.mp4", shots([1] * 20))
    result = call(path, "--out", tmp_path / "out", "--fps", 0)
    assert result.exit_code == 2
    assert "20 frames in 20 pieces, --min-frames asks for 3; 19 cuts were found" in result.stderr
    assert "--no-cuts" in result.stderr
    result = call(path, "--out", tmp_path / "out", "--fps", 0, "--no-cuts")
    assert result.exit_code == 0, result.output
    assert document(tmp_path / "out")["totals"]["frames"] == 20


def test_sharpness_is_the_variance_of_the_laplacian():
    grey = np.zeros((5, 5), np.uint8)
    grey[2, 2] = 10
    # the Laplacian is −40 at the point and 10 at its four neighbours: mean 0, variance (1600 + 400) / 25
    assert sharpness(grey) == 80


def test_the_sharpest_of_each_interval_is_taken(tmp_path):
    scores = [1, 3, 2, 5, 5, 9, 1]
    begins: list[int] = []
    frames = [Decoded(number / 10, number, begins=number == 5) for number in range(7)]
    found = list(sampled(iter(frames), 5.0, begins, score=lambda number: float(scores[number])))
    # intervals: 0 1, 2 3, 4, then from the cut 5 6; of equals the first
    assert found == [(0.1, 1), (0.3, 3), (0.4, 4), (0.5, 5)]
    assert begins == [3]
    assert [number for _, number in sampled(iter(frames), 5.0, [])] == [0, 2, 4, 5]
    random = np.random.default_rng(0)
    pattern = random.integers(0, 256, (48, 64, 3), np.uint8)
    blurred = np.full_like(pattern, 128)
    path = film(tmp_path / "a.mp4", [blurred, pattern] * 6)
    chosen = list(video_frames(path, SamplingOptions(5.0, sharpest=True), VideoNotes()))
    assert [seconds for seconds, _ in chosen] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9, 1.1])
    assert min(image.std() for _, image in chosen) > 30


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
def test_animated_pictures_are_clips(tmp_path, suffix):
    pictures = [Image.fromarray(frame(number)) for number in range(0, 24, 2)]
    folder = photos(tmp_path / "set", ["1.png", "2.png", "3.png"])
    pictures[0].save(folder / f"walk{suffix}", save_all=True, append_images=pictures[1:], duration=100)
    assert is_animated(folder / f"walk{suffix}")
    report = ingest([folder], tmp_path / "out", IngestOptions())
    walk = next(source for source in report.sources if source.name == "walk")
    assert (walk.kind, walk.decoded, walk.taken) == ("video", 12, 6)
    assert [source.kind for source in report.sources if source.name == "set"] == ["images"]
    found = list(animated_frames(folder / f"walk{suffix}", SamplingOptions(5.0), VideoNotes()))
    assert [seconds for seconds, _ in found] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose([image[-4, -4].mean() for _, image in found], range(0, 192, 32), atol=6)
    assert [round(seconds, 1) for seconds, _ in spread(folder / f"walk{suffix}", 3)] == [0.0, 0.6, 1.1]
    assert len(read_views([folder / f"walk{suffix}"], image_size=16, frames=4)) == 4


def test_a_damaged_animation_is_said(tmp_path):
    pictures = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (32, 32, 3), np.uint8)) for n in range(8)]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:])
    truncated(tmp_path / "a.png", 0.6)
    with pytest.raises(BadSceneError, match=r"a\.png after [1-7] frames"):
        list(animated_frames(tmp_path / "a.png", SamplingOptions(0.0), VideoNotes()))


def test_windows_by_hand():
    assert window(60, 40, "centre") == (slice(0, 40), slice(10, 50))
    assert window(60, 40, "right") == (slice(0, 40), slice(20, 60))
    assert window(60, 40, "top") == window(60, 40, "centre")
    assert window(40, 60, "bottom") == (slice(20, 60), slice(0, 40))
    assert window(40, 60, "0.5,.25") == (slice(5, 45), slice(0, 40))
    assert place_of("1,0") == (1.0, 0.0)
    dark = outlined(np.full((40, 60, 3), 200, np.uint8), "left")
    assert (dark[0, 0, 0], dark[0, 39, 0], dark[0, 40, 0]) == (200, 200, 50)


@pytest.mark.parametrize("crop", ["middle", "0.5", "1.5,0", "-1,0", "nan,0", "1,1,1"])
def test_other_windows_are_refused(tmp_path, crop):
    folder = photos(tmp_path / "a", ["1.png", "2.png", "3.png"])
    result = call(folder, "--out", tmp_path / "out", f"--crop={crop}")
    assert result.exit_code == 2
    assert f"--crop {crop}: give centre, top, bottom, left, right, or x,y" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_chosen_window_is_what_the_set_holds(tmp_path):
    folder = photos(tmp_path / "a", ["1.png", "2.png", "3.png"], size=(60, 40))
    report = ingest([folder], tmp_path / "out", IngestOptions(crop="right", short_side=0))
    assert (report.sources[0].recorded, report.sources[0].size) == ((60, 40), (40, 40))
    image = np.asarray(Image.open(tmp_path / "out" / "images" / "a" / "00002.png"))
    np.testing.assert_array_equal(image, frame(2, (60, 40))[:, 20:])
    result = call(folder, "--out", tmp_path / "out", "--add", "--crop", "left", "--no-cuts")
    assert result.exit_code == 2
    assert "--crop left: the recordings of" in result.stderr
    assert "were taken with --crop right" in result.stderr
    result = call(folder, "--out", tmp_path / "out", "--add", "--no-cuts")
    assert "--no-cuts: the recordings of" in result.stderr
    assert "were taken with --cuts" in result.stderr


def test_the_preview_shows_windows_and_ingests_nothing(tmp_path):
    folder = photos(tmp_path / "a", ["1.png", "2.png", "3.png"], size=(60, 40), first=20)
    write_clip(folder / "b.mp4")
    (folder / "c.dng").write_bytes(b"")
    result = call(folder, "--out", tmp_path / "out", "--preview", "--crop", "right")
    assert result.exit_code == 1, result.output
    assert "left out" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out.crop.jpg"]
    sheet = np.asarray(Image.open(tmp_path / "out.crop.jpg")).astype(int)
    # the first photo lies below its name: grey of 160 inside the window and a quarter of it outside
    lower = sheet[20 + 36]
    assert abs(lower[4 + 10] - 40).max() < 12
    assert abs(lower[4 + 50] - 160).max() < 12


def test_sets_of_earlier_versions_are_added_to(tmp_path):
    folder = photos(tmp_path / "a", ["1.png", "2.png", "3.png"])
    ingest([folder], tmp_path / "out", IngestOptions())
    text = document(tmp_path / "out")
    text["version"] = 4
    text["options"] = {name: text["options"][name] for name in ("fps", "clip_length", "min_frames", "short_side")}
    (tmp_path / "out" / "ingest.json").write_text(json.dumps(text))
    more = photos(tmp_path / "b", ["1.png", "2.png", "3.png"], first=3)
    result = call(more, "--out", tmp_path / "out", "--add")
    assert result.exit_code == 0, result.output
    assert document(tmp_path / "out")["options"]["crop"] == "centre"
