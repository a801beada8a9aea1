"""Own videos and image folders: sampling, orientation, clips, resuming, and every kind of bad input."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from tests.helpers.clips import RED, files, frame, photos, truncated, write_clip, write_sound
from wildrayzer.cli.main import app
from wildrayzer.config import ConfigError, load_config, parse_config
from wildrayzer.config.sections.data import SplitConfig, StoreConfig
from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.ingest import frames, write
from wildrayzer.data.ingest.clips import IngestOptions, cut
from wildrayzer.data.ingest.media.sampling import SamplingOptions, VideoNotes
from wildrayzer.data.ingest.media.video import evenly_spread, video_frames
from wildrayzer.data.ingest.run_config import derive
from wildrayzer.data.ingest.sources import find_sources
from wildrayzer.data.ingest.write import ingest
from wildrayzer.io.locks import locked
from wildrayzer.stages.prepare import prepare_split

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "resources" / "tiny.yaml"


def call(*words: object):
    return CliRunner().invoke(app, ["data", "ingest", *map(str, words)])


def grey(image: np.ndarray) -> int:
    """Number of a test frame, from its lower right corner."""
    return round(float(image[-4:, -4:].mean()) / 8)


@pytest.mark.parametrize(
    ("fps", "numbers"),
    [(5.0, range(0, 20, 2)), (0.0, range(20)), (40.0, range(20)), (4.0, [0, 3, 5, 8, 10, 13, 15, 18])],
)
def test_frames_are_taken_at_a_steady_rate_and_none_twice(tmp_path, fps, numbers):
    notes = VideoNotes()
    found = list(video_frames(write_clip(tmp_path / "a.mp4"), SamplingOptions(fps), notes))
    assert [grey(image) for _, image in found] == list(numbers)
    assert [time for time, _ in found] == pytest.approx([number / 10 for number in numbers])
    assert (notes.decoded, notes.rotation, notes.remarks) == (20, 0, [])
    assert notes.seconds == pytest.approx(1.9)


def test_a_few_frames_of_a_video_are_spread_and_have_the_ends(tmp_path):
    found = evenly_spread(write_clip(tmp_path / "a.webm", 9), 3)
    assert [grey(image) for _, image in found] == [0, 4, 8]
    assert len(evenly_spread(tmp_path / "a.webm", 50)) == 9


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
@pytest.mark.parametrize("turn", [90, -90, 180])
def test_rotation_of_the_container_is_honoured(tmp_path, suffix, turn):
    path = write_clip(tmp_path / f"a{suffix}", 3, turn=turn)
    (_, image), *_ = video_frames(path, SamplingOptions(0.0), notes := VideoNotes())
    wanted = np.rot90(frame(0), turn // 90)  # counter-clockwise, as the container's angle
    assert image.shape == wanted.shape
    assert np.abs(image.astype(int) - wanted).mean() < 6
    assert abs(notes.rotation) == abs(turn)


def test_mirroring_is_honoured_and_red_is_where_hand_and_eye_say(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 2, turn=90, mirrored=True)
    (_, image), *_ = video_frames(path, SamplingOptions(0.0), VideoNotes())
    assert image.shape == (64, 32, 3)
    # turned by 90° counter-clockwise the red quarter is at the lower left, mirrored at the lower right
    corners = {(row, column): image[row, column].tolist() for row in (8, 56) for column in (8, 24)}
    assert [place for place, colour in corners.items() if np.allclose(colour, RED, atol=25)] == [(56, 24)]


def test_oblong_pixels_are_made_square(tmp_path):
    (_, image), *_ = video_frames(write_clip(tmp_path / "a.mov", 2, aspect=2), SamplingOptions(0.0), VideoNotes())
    assert image.shape == (32, 128, 3)


def test_exif_orientation_and_numerical_order(tmp_path):
    folder = photos(tmp_path / "walk", ["f2.png", "f10.png", "f1.png"])
    turned = Image.fromarray(frame(5, (24, 16)))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90° clockwise
    turned.save(folder / "f3.png", exif=exif)
    (source,) = find_sources([folder]).sources
    assert [image.name for image in source.images] == ["f1.png", "f2.png", "f3.png", "f10.png"]
    assert np.array_equal(frames.read_image(folder / "f3.png"), np.rot90(frame(5, (24, 16)), -1))


def test_names_in_other_letters_are_made_safe_and_stay_apart(tmp_path):
    def named(*names: str) -> list[str]:
        folder = tmp_path / names[0]
        for name in names:
            photos(folder / name, ["1.png"])
        return [source.name for source in find_sources([folder]).sources]

    names = named("Caf\u00e9", "Cafe", "видео 1", "видео 2", "日本", "my clip (2)")
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) for name in names)
    assert len(set(names)) == 6
    assert {"Cafe", "my_clip_2"} <= set(names)
    assert sorted(re.sub(r"_[0-9a-f]{8}$", "", name) for name in names) == [
        "1",
        "2",
        "Cafe",
        "Cafe",
        "my_clip_2",
        "source",
    ]
    # the same letters, written in two ways
    assert set(named("over", "U\u0308ber")) - {"over"} == set(named("under", "\u00dcber")) - {"under"}


def names_of(*paths: Path) -> dict[str, str]:
    return {source.name: source.kind for source in find_sources(paths).sources}


def test_equal_names_get_their_folders_as_prefix(tmp_path):
    for folder in ("a", "b", "b/x"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "video.mp4").touch()
    (tmp_path / "b" / "video.mov").touch()
    photos(tmp_path / "a" / "video", ["1.png"])
    assert names_of(tmp_path / "a", tmp_path / "b") == {
        "a_video_mp4": "video", "a_video_images": "images",
        "b_video_mp4": "video", "b_video_mov": "video", "x_video": "video",
    }  # fmt: skip
    assert names_of(tmp_path / "a" / "video.mp4", tmp_path / "b" / "x" / "video.mp4") == {
        "a_video": "video", "x_video": "video"
    }  # fmt: skip


def test_photos_and_videos_of_a_folder_are_recordings_of_their_own(tmp_path):
    folder = photos(tmp_path / "100APPLE", ["IMG_1.JPG", "IMG_2.JPG"])
    (folder / "IMG_3.MOV").touch()
    assert names_of(folder) == {"100APPLE": "images", "IMG_3": "video"}


def test_reduced_copies_and_masks_of_a_project_are_no_recordings(tmp_path):
    for name in ("images", "images_2", "images_4", "images_4_png", "masks", "mask_2", "motion_masks", "depths"):
        photos(tmp_path / "garden" / name, ["1.png"])
    photos(tmp_path / "garden" / "walk", ["1.png"])
    found = find_sources([tmp_path / "garden"])
    assert [source.name for source in found.sources] == ["images", "walk"]
    assert {path.name: reason for path, reason in found.copies.items()} == {
        "images_2": "its name is that of reduced copies of images",
        "images_4": "its name is that of reduced copies of images",
        "images_4_png": "its name is that of reduced copies of images",
    } | dict.fromkeys(["masks", "mask_2", "motion_masks", "depths"], "its name is that of masks or other maps")
    assert names_of(tmp_path / "garden" / "images_4") == {"images_4": "images"}, "named, it is taken"


def test_what_is_named_and_not_taken_is_said_with_exit_code_1(tmp_path):
    folder = photos(tmp_path / "trip", [f"{number}.jpg" for number in range(3)])
    for name in ("IMG_2.DNG", "old.avi"):
        (folder / name).write_bytes(b"x")
    (folder / "4.jpg").symlink_to("/nowhere/4.jpg")
    result = call(folder, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"left out {folder / 'IMG_2.DNG'}: .dng files are not read; convert it to PNG, JPEG or MP4" in result.stderr
    assert f"left out {folder / 'old.avi'}: .avi files are not read" in result.stderr
    assert f"left out {folder / '4.jpg'}: is a link to /nowhere/4.jpg, which is not there" in result.stderr
    assert json.loads((tmp_path / "out" / "ingest.json").read_text())["left_out"].keys() == {
        str(folder / name) for name in ("IMG_2.DNG", "old.avi", "4.jpg")
    }


def test_a_folder_with_nothing_but_files_that_are_not_read_names_them(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "1.cr3").touch()
    result = call(tmp_path / "raw", "--out", tmp_path / "out")
    assert (result.exit_code, "1.cr3: .cr3 files are not read" in result.stderr) == (2, True)


def test_links_in_circles_end(tmp_path):
    folder = photos(tmp_path / "walk", ["1.png"])
    for name in ("x", "y"):
        (folder / name).symlink_to(folder)
    found = find_sources([folder])
    assert [source.name for source in found.sources] == ["walk"]
    assert len(found.copies) == 2


def test_names_of_any_length_and_digit_are_taken(tmp_path):
    folder = photos(tmp_path / ("n" * 240), ["²3.png", "m²1.png", "m10.png", "m9.png"])
    (source,) = ingest([folder], tmp_path / "out", IngestOptions()).sources
    assert re.fullmatch(r"n{120}_[0-9a-f]{8}", source.name)
    assert [image.name for image in find_sources([folder]).sources[0].images][:2] == ["m9.png", "m10.png"]


def test_cutting_keeps_a_rest_that_is_long_enough():
    options = IngestOptions(clip_length=4, min_frames=3)
    assert cut(11, options) == [(0, 4), (4, 8), (8, 11)]
    assert cut(10, options) == [(0, 4), (4, 8)]
    assert cut(2, options) == []
    assert cut(11, options, [2, 6]) == [(2, 6), (6, 10)]


def test_the_set_is_read_by_the_frame_store_bit_by_bit(tmp_path):
    folder = photos(tmp_path / "walk", [f"{number}.png" for number in range(7)], size=(32, 32))
    clip = write_clip(tmp_path / "street.mp4", 12, rate=5)
    out = tmp_path / "own"
    result = call(clip, folder, "--out", out, "--clip-length", 6, "--min-frames", 4)
    assert result.exit_code == 0, result.output
    assert f"used     {folder}: 6 of 7 frames in 1 clips" in result.stdout
    report = json.loads((out / "ingest.json").read_text())
    assert report["totals"] == {
        "sources": 2, "used": 2, "skipped": 0, "clips": 3, "frames": 18, "left_over": 1
    }  # fmt: skip
    assert report["sources"][0]["clips"] == ["street_000", "street_001"]
    with Image.open(out / "contact_sheet.jpg") as sheet:
        assert sheet.size == (6 * 132 + 4, 20 + 3 * 152 + 4)
    split = SplitConfig(layout="lvsm", path=str(out), role="dynamic", purpose="train")
    prepare_split(split, out, tmp_path / "store.json", image_size=32, store=StoreConfig())
    store = FrameStore(tmp_path / "store.json")
    assert store.scenes == ["street_000", "street_001", "walk_000"]
    assert np.diff(store.offsets).tolist() == [6, 6, 6]
    assert not store.has_cameras
    assert np.array_equal(store.read(np.arange(12, 18)), np.stack([frame(number, (32, 32)) for number in range(6)]))


def test_frames_are_reduced_and_never_enlarged(tmp_path):
    photos(tmp_path / "walk", ["1.png", "2.png", "3.png"], size=(40, 20))
    for short_side, size in ((10, [20, 10]), (0, [40, 20]), (50, [40, 20])):
        out = tmp_path / f"own{short_side}"
        report = ingest([tmp_path / "walk"], out, IngestOptions(short_side=short_side))
        assert list(report.sources[0].size) == size
        with Image.open(out / "images" / "walk" / "00000.png") as image:
            assert list(image.size) == size


def faulty(tmp_path: Path, what: str) -> list[Path]:
    """Arguments of a call that must be refused before anything is written."""
    good = write_clip(tmp_path / "good.mp4", 4)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    photo = photos(tmp_path / "mixed", ["1.png"]) / "1.png"
    return {
        "unknown suffix": [good, tmp_path / "notes.txt"],
        "missing": [good, tmp_path / "none.mp4"],
        "photo": [photo],
        "empty": [tmp_path / "empty"],
        "twice": [good, tmp_path / "empty" / ".." / "good.mp4"],
    }[what]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("unknown suffix", "notes.txt: unknown suffix '.txt'; videos (.mp4"),
        ("missing", "none.mp4: no such file"),
        ("photo", "1.png is a single image; name the folder"),
        ("empty", "empty holds neither videos nor images"),
        ("twice", "good.mp4 is named twice; name it once"),
    ],
)
def test_faulty_arguments_are_refused_before_anything_is_written(tmp_path, what, message):
    paths = faulty(tmp_path, what)
    out = tmp_path / "out"
    result = call(*paths, "--out", out)
    assert (result.exit_code, message in result.stderr) == (2, True), result.output
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fps", "-1"], "--fps -1.0"),
        (["--fps", "inf"], "--fps inf: give frames a second, or 0"),
        (["--fps", "nan"], "--fps nan: give frames a second, or 0"),
        (["--min-frames", "2"], "--min-frames 2 with --clip-length 10: a window needs at least 3"),
        (["--clip-length", "5", "--min-frames", "6"], "a clip may not be shorter than its minimum"),
        (["--short-side", "-5"], "--short-side -5"),
        (["--base", "none.yaml"], "--base none.yaml: no such configuration file"),
        (["--base", "/"], "--base /: a folder; name a configuration file in it"),
    ],
)
def test_faulty_options_are_named(tmp_path, options, message):
    write_clip(tmp_path / "a.mp4", 4)
    result = call(tmp_path / "a.mp4", "--out", tmp_path / "out", *options)
    assert (result.exit_code, message in result.stderr) == (2, True), result.output


def test_an_existing_folder_is_not_touched(tmp_path):
    write_clip(tmp_path / "a.mp4", 4)
    (tmp_path / "out").mkdir()
    result = call(tmp_path / "a.mp4", "--out", tmp_path / "out")
    assert (result.exit_code, "out exists; name another folder, add to" in result.stderr) == (2, True)
    assert not list((tmp_path / "out").iterdir())


def test_unusable_sources_are_skipped_with_their_reason(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_clip(folder / "good.mp4", 8, rate=5)
    write_clip(folder / "short.mp4", 2)
    write_sound(folder / "sound.mp4")
    write_sound(folder / "hollow.mkv", empty_video=True)
    truncated(write_clip(folder / "headless.mp4", noise=True))
    truncated(write_clip(folder / "half.mp4", 40, noise=True, options={"movflags": "+faststart"}))
    truncated(write_clip(folder / "halfweb.webm", 40, noise=True))
    truncated(photos(folder / "broken", ["1.png", "2.png", "3.png"], size=(64, 64)) / "2.png")
    photos(folder / "sizes", ["1.png", "2.png"])
    Image.fromarray(frame(0, (16, 24))).save(folder / "sizes" / "3.png")
    (folder / "notes.txt").write_text("text")
    result = call(folder, "--out", tmp_path / "out")
    assert result.exit_code == 1, result.output
    report = json.loads((tmp_path / "out" / "ingest.json").read_text())
    reasons = {Path(path).name: detail.partition(": ")[0] for path, detail in report["skipped"].items()}
    assert reasons == {
        "short.mp4": "too few frames",
        "sound.mp4": "no video stream",
        "hollow.mkv": "no frames",
        "headless.mp4": "video cannot be decoded",
        "half.mp4": "video is truncated",
        "halfweb.webm": "video is truncated",
        "broken": "image cannot be decoded",
        "sizes": "frames differ in size",
    }
    assert report["reasons"]["video is truncated"] == 2
    assert report["ignored_files"] == [str(folder / "notes.txt")]
    assert all(f"skipped  {detail}" in result.stderr for detail in report["skipped"].values())
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["good"]
    assert (tmp_path / "out" / "full_list.txt").read_text() == "metadata/good_000.json\n"


def test_a_set_without_any_usable_source_is_an_error(tmp_path):
    result = call(write_sound(tmp_path / "sound.mp4"), "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "none of the 1 recordings can be used" in result.stderr
    assert "holds audio; name a file with pictures" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sound.mp4"]


def test_a_stopped_call_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    clips = [write_clip(tmp_path / f"{name}.mp4", 12, rate=5) for name in "abc"]
    options = IngestOptions(clip_length=6)
    ingest(clips, tmp_path / "whole", options)
    read = frames.moving_frames
    opened: list[str] = []

    def stopping(path, fps, notes):
        opened.append(path.name)
        for number, found in enumerate(read(path, fps, notes)):
            if path.name == "b.mp4" and number == 5 and opened.count("b.mp4") == 1:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(frames, "moving_frames", stopping)
    with pytest.raises(KeyboardInterrupt):
        ingest(clips, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
    ingest(clips, tmp_path / "out", options)
    assert opened == ["a.mp4", "b.mp4", "b.mp4", "c.mp4"]
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "c.mp4", "out", "whole"]


def test_a_stopped_call_with_other_options_starts_again(tmp_path, monkeypatch):
    clips = [write_clip(tmp_path / f"{name}.mp4", 12, rate=5) for name in "ab"]
    read = frames.moving_frames
    monkeypatch.setattr(frames, "moving_frames", lambda path, *_: read(path, *_) if path.stem == "a" else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ingest(clips, tmp_path / "out", IngestOptions())
    monkeypatch.setattr(frames, "moving_frames", read)
    ingest(clips[:1], tmp_path / "out", IngestOptions(fps=2.5))
    ingest(clips[:1], tmp_path / "whole", IngestOptions(fps=2.5))
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def stop_at_the_sheet(monkeypatch, *arguments) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(write, "write_sheet", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ingest(*arguments)


def test_frames_that_a_stopped_call_removed_are_made_again(tmp_path, monkeypatch):
    clips = [write_clip(tmp_path / f"{name}.mp4", 12, rate=5) for name in "ab"]
    short = write_clip(tmp_path / "c.mp4", 3, rate=5)
    for _ in range(2):  # the second call drops b and the short one, and is stopped
        stop_at_the_sheet(monkeypatch, clips, tmp_path / "out", IngestOptions())
        stop_at_the_sheet(monkeypatch, [clips[0], short], tmp_path / "out", IngestOptions(min_frames=4))
    unfinished = tmp_path / ".out.unfinished"
    assert [path.stem for path in (unfinished / "sources").iterdir()] == ["a"]
    report = ingest([*clips, short], tmp_path / "out", IngestOptions())
    assert report.totals["frames"] == 10 + 10 + 3
    ingest([*clips, short], tmp_path / "whole", IngestOptions())
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_record_is_believed_only_with_all_its_frames(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "a.mp4", 12, rate=5)
    images = tmp_path / ".out.unfinished" / "images" / "a"
    stop_at_the_sheet(monkeypatch, [clip], tmp_path / "out", IngestOptions())
    (images / "00007.png").unlink()
    stop_at_the_sheet(monkeypatch, [clip], tmp_path / "out", IngestOptions())
    assert len(list(images.iterdir())) == 12
    (images / "00012.png").write_bytes(b"of another recording")
    for name in ("out", "whole"):
        ingest([clip], tmp_path / name, IngestOptions())
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_two_calls_for_one_folder_do_not_mix(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", 4)
    (tmp_path / ".out.unfinished").mkdir()
    with locked(tmp_path / ".out.unfinished" / ".lock"), pytest.raises(ValueError, match="being written by another"):
        ingest([clip], tmp_path / "out", IngestOptions())
    assert ingest([clip], tmp_path / "out", IngestOptions(fps=0.0)).totals["frames"] == 4


def test_the_configuration_trains_on_the_set_and_can_run(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", 10, rate=5)
    result = call(clip, "--out", tmp_path / "own", "--base", TINY)
    assert result.exit_code == 0, result.output
    config = load_config(tmp_path / "own" / "config.yaml")
    assert (config.name, config.data.dynamic_train) == ("own", "own_dynamic")
    assert list(config.data.splits) == ["own_dynamic", "static_train", "calibration", "static_test"]
    assert config.data.splits["own_dynamic"].path == str(tmp_path / "own")
    assert set(config.data.embedded.splits) == {"static_train", "calibration", "static_test"}
    base = load_config(TINY)
    assert config.model_copy(update={"name": "", "data": None}) == base.model_copy(update={"name": "", "data": None})


def test_a_pretrained_renderer_brings_its_network_along(tmp_path):
    renderer = ROOT / "resources" / "bundled-renderer"
    config = parse_config(derive(TINY, tmp_path / "own", pretrained=str(renderer)))
    assert config.pretrained == str(renderer)
    manifest = json.loads((renderer / "manifest.json").read_text())
    assert config.model == ModelConfig(**manifest["model"])
    assert config.model.image_size == 64
    with pytest.raises(ConfigError, match="no checkpoint here"):
        derive(TINY, tmp_path / "own", pretrained=str(tmp_path))


def test_the_gate_threshold_is_that_of_the_base(tmp_path):
    base = ROOT / "config" / "showcase.yaml"
    config = parse_config(derive(base, tmp_path / "own", pretrained=str(ROOT / "resources" / "bundled-renderer")))
    assert config.model == load_config(base).model


def test_the_demo_is_a_base_without_what_it_scored_on_splits_that_are_gone(tmp_path):
    config = parse_config(derive(ROOT / "config" / "demo.yaml", tmp_path / "own"))
    assert set(config.data.splits) == {"own_dynamic", "static_train", "calibration", "static_test", "static_twin"}
    assert config.ablations == {}
    assert config.benchmark.ablations == ()


def test_configurations_of_static_and_dynamic_sets_add_up(tmp_path):
    file = tmp_path / "dynamic.yaml"
    file.write_text(yaml.safe_dump(derive(ROOT / "config" / "paper.yaml", tmp_path / "own")))
    config = parse_config(derive(file, tmp_path / "still", role="static"))
    assert (config.data.static_train, config.data.dynamic_train) == ("own_static", "own_dynamic")
    assert list(config.data.splits) == ["own_static", "own_dynamic", "re10k_calibration", "re10k_masks", "re10k_test"]


def test_without_a_base_the_splits_lines_are_written(tmp_path):
    call(write_clip(tmp_path / "a.mp4", 10), "--out", tmp_path / "own", "--role", "static")
    (entry,) = yaml.safe_load((tmp_path / "own" / "config.yaml").read_text())["data"]["splits"].items()
    assert entry == (
        "own_static",
        {"layout": "lvsm", "path": str(tmp_path / "own"), "role": "static", "purpose": "train"},
    )
    assert call(tmp_path / "a.mp4", "--out", tmp_path / "b", "--pretrained", "x").exit_code == 2


def test_a_base_that_cannot_run_is_refused(tmp_path):
    (tmp_path / "base.yaml").write_text("name: x\n")
    with pytest.raises(ConfigError, match=r"base\.yaml cannot run"):
        derive(tmp_path / "base.yaml", tmp_path / "own")
