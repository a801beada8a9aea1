"""Videos of many makings: their ends, whatever stands beside the pictures in the file."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.helpers.clips import frame, truncated, write_clip, write_film
from wildrayzer.data.ingest.clips import IngestOptions
from wildrayzer.data.ingest.media.containers import is_cut_short
from wildrayzer.data.ingest.media.sampling import SamplingOptions, VideoNotes
from wildrayzer.data.ingest.media.video import expected_frames, video_frames
from wildrayzer.data.ingest.write import ingest
from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.io.files import read_json

CASES = Path(__file__).parents[1] / "resources" / "cases"
TENTHS = (np.arange(20) / 10).tolist()


def taken(path: Path) -> tuple[int, list[str]]:
    notes = VideoNotes()
    return sum(1 for _ in video_frames(path, SamplingOptions(0.0), notes)), notes.remarks


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
def test_sound_that_goes_on_after_the_pictures_is_no_truncation(tmp_path, suffix):
    # WebM gives a length for all streams together, so what ends early there is not known: a remark.
    remarks = ["pictures end at 1.9 s of 5.0 s that the file is said to last"] if suffix == ".webm" else []
    assert taken(write_film(tmp_path / f"a{suffix}", TENTHS, sound=5.0)) == (20, remarks)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
def test_time_stamps_that_begin_late_are_no_lack_of_pictures(tmp_path, suffix):
    path = write_film(tmp_path / f"a{suffix}", [50 + time for time in TENTHS])
    assert taken(path) == (20, [])
    assert expected_frames(path, 10.0) in (20, 21)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
def test_a_last_frame_that_stands_long_is_no_truncation_and_a_gap_begins_a_clip(tmp_path, suffix):
    times = [0.0, 0.1, 0.2, 0.3, 2.0, 2.1]
    notes = VideoNotes()
    frames = list(video_frames(write_film(tmp_path / f"a{suffix}", times, last=4.0), SamplingOptions(0.0), notes))
    assert [time for time, _ in frames] == pytest.approx(times)
    assert (notes.jumps, notes.remarks) == ([4], ["time stamps jump 1 times: a new clip begins at each jump"])


@pytest.mark.parametrize(
    ("name", "fps", "times", "jumps"),
    [
        # two recordings of 20 frames, 0.1 s apart: the times of the second follow those of the first
        ("timestamps-restart.mkv", 0.0, np.arange(40) / 10, [20]),
        ("timestamps-restart.mkv", 5.0, np.arange(0, 40, 2) / 10, [10]),
        ("timestamps-restart.mkv", 4.0, [*(x := np.array([0, 3, 5, 8, 10, 13, 15, 18]) / 10), *(2 + x)], [8]),
        # five frames without a time stamp, then stamps from 0
        ("no-first-timestamps.mkv", 0.0, np.arange(20) / 10, [5]),
    ],
)
def test_time_stamps_that_begin_again_begin_a_new_clip(name, fps, times, jumps):
    notes = VideoNotes()
    assert [time for time, _ in video_frames(CASES / name, SamplingOptions(fps), notes)] == pytest.approx(list(times))
    assert notes.jumps == jumps
    assert "time stamps jump 1 times: a new clip begins at each jump" in notes.remarks
    assert any("5 frames have no time stamp" in remark for remark in notes.remarks) == name.startswith("no")


def test_no_clip_spans_two_recordings(tmp_path):
    options = IngestOptions(fps=0.0, clip_length=15)
    (source,) = ingest([CASES / "timestamps-restart.mkv"], tmp_path / "out", options).sources
    assert (source.taken, source.used, len(source.clips)) == (40, 40, 4)
    firsts = [read_json(tmp_path / "out" / "metadata" / f"{clip}.json")["frames"][0]["time"] for clip in source.clips]
    assert firsts == [0.0, 1.5, 2.0, 3.5]


def test_of_several_streams_the_default_one_is_taken():
    notes = VideoNotes()
    (_, image), *_ = video_frames(CASES / "two-video-streams.mkv", SamplingOptions(0.0), notes)
    assert image.shape == (120, 160, 3)
    assert notes.remarks == ["other video streams (64×48) are left out; the default one is taken"]


@pytest.mark.parametrize("name", ["metadata-latin1.mp4", "metadata-fuzz.webm"])
def test_titles_that_are_no_utf8_do_not_matter(name):
    count, remarks = taken(CASES / name)
    assert count == 20
    assert (
        [remark.partition(",")[0] for remark in remarks]
        == ["has an alpha channel", "colours are of unknown kind (matrix 3): shown as of the usual one"]
    ) == name.endswith("webm")


def test_pixels_of_no_camera_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"pixels are too oblong: .*11009\.mp4: its header says that pixels are 11009 as"
    ):
        ingest([CASES / "pixel-aspect-11009.mp4"], tmp_path / "out", IngestOptions())


def test_alpha_is_remarked_on(tmp_path):
    with av.open(str(tmp_path / "a.mov"), "w") as film:
        stream = film.add_stream("qtrle", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "argb"
        for _ in range(3):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 64, 4), 99, np.uint8), format="argb")))
        film.mux(stream.encode())
    (count, (remark,)) = taken(tmp_path / "a.mov")
    assert (count, remark.partition(",")[0]) == (3, "has an alpha channel")


@pytest.mark.parametrize("name", ["12:30.mp4", "http:a.mp4", "-i 100%d.mp4"])
def test_a_name_is_a_file_and_nothing_else(tmp_path, monkeypatch, name):
    write_film(tmp_path / "a.mp4", TENTHS[:3]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert taken(Path(name)) == (3, [])
    assert expected_frames(Path(name), 10.0) == 3


@pytest.mark.parametrize("sound", [0.0, 5.0])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
def test_a_file_cut_in_the_middle_is_refused(tmp_path, suffix, sound):
    path = write_film(tmp_path / f"a{suffix}", (np.arange(40) / 10).tolist(), sound=sound)
    assert not is_cut_short(path)
    assert is_cut_short(truncated(path))
    with pytest.raises(BadSceneError, match=r"video is truncated: .* s could be decoded; copy or export it again"):
        taken(path)


def test_an_end_that_was_never_written_is_remarked_on(tmp_path):
    path = write_film(tmp_path / "a.webm", TENTHS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2].ljust(len(whole), b"\0"))
    count, remarks = taken(path)
    assert 5 < count < 15
    assert remarks[-1].endswith("of 1.9 s that the file is said to last")


def test_interlaced_video_is_taken_and_said(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 4, coding={"x264-params": "interlaced=1:tff=1"})
    (count, (remark,)) = taken(path)
    assert (count, remark.partition(":")[0]) == (4, "interlaced")


def test_a_video_whose_size_changes_is_skipped_with_its_remedy(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuvj420p"
        for number, size in enumerate([(64, 32), (64, 32), (32, 64)]):
            picture = io.BytesIO()
            Image.fromarray(frame(number, size)).save(picture, "JPEG")
            packet = av.Packet(picture.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 10)
            film.mux(packet)
    with pytest.raises(ValueError, match=r"frames differ in size: .*a\.mkv: 32×64 in frame 2, 64×32 before; export it"):
        ingest([path], tmp_path / "out", IngestOptions(fps=0.0))


def box(kind: bytes, size: int, *, wide: int | None = None) -> bytes:
    return size.to_bytes(4) + kind + (b"" if wide is None else wide.to_bytes(8))


@pytest.mark.parametrize(
    ("content", "cut"),
    [
        (box(b"ftyp", 12) + b"mp42" + box(b"mdat", 16) + bytes(8), False),
        (box(b"ftyp", 12) + b"mp42" + box(b"mdat", 16) + bytes(7), True),
        (box(b"ftyp", 12) + b"mp42" + box(b"mdat", 1, wide=24) + bytes(8), False),
        (box(b"ftyp", 12) + b"mp42" + box(b"mdat", 1, wide=2**33) + bytes(8), True),
        (box(b"ftyp", 12) + b"mp42" + box(b"mdat", 0) + bytes(8), False),  # to the end of the file
        (box(b"ftyp", 12) + b"mp42" + bytes(9), False),
        (bytes.fromhex("1A45DFA3 81 00 18538067 84") + bytes(4), False),
        (bytes.fromhex("1A45DFA3 81 00 18538067 84") + bytes(3), True),
        (bytes.fromhex("1A45DFA3 4001 00 18538067 010000000000FFFF") + bytes(99), True),
        (bytes.fromhex("1A45DFA3 81 00 18538067 01FFFFFFFFFFFFFF") + bytes(99), False),  # live: unknown
        (bytes.fromhex("1A45DFA3 81"), False),
        (b"RIFF\0\0\1\0AVI ", False),
        (b"", False),
    ],
)
def test_the_sizes_that_a_container_writes_down_tell_whether_it_is_cut(tmp_path, content, cut):
    (tmp_path / "a").write_bytes(content)
    assert is_cut_short(tmp_path / "a") is cut
