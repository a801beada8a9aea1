"""Rendering of unposed views: passes, view counts, files, the video and the page."""

import json
import re
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.helpers.clips import frame, write_clip
from wildrayzer.checkpoint import save_checkpoint
from wildrayzer.cli.main import app
from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.data.ingest.views import read_views
from wildrayzer.evaluation.methods.unposed import _in_frame_of, choose_inputs, passes, render_path, render_views
from wildrayzer.evaluation.metrics.poses import transform_cameras
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.backbones.descriptor import Descriptor
from wildrayzer.tools.render.plucker import direction_picture, klein_residual, moment_length
from wildrayzer.tools.render.video import pick_encoder, write_video

SIZE = 24
MODEL = ModelConfig(
    image_size=SIZE,
    patch_size=4,
    width=32,
    head_width=16,
    camera_blocks=1,
    scene_blocks=1,
    decoder_blocks=1,
    scene_tokens=4,
    motion_head=MotionHeadConfig(blocks=1, feature_width=15, threshold=0.5),
)


def tiny() -> WildRayZer:
    torch.manual_seed(0)
    return WildRayZer(MODEL).eval()


def checkpoint(folder: Path, stage: str = "joint", **extra) -> Path:
    features = {"features": "descriptor", "features_digest": Descriptor(patch_size=4).digest}
    save_checkpoint(
        folder, tiny(), stage=stage, step=1, inputs=(2, 3), targets=2, config_digest="0", extra={**features, **extra}
    )
    return folder


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def photos(folder: Path, sizes: list[tuple[int, int]]) -> list[Path]:
    folder.mkdir()
    for number, size in enumerate(sizes):
        Image.fromarray(frame(number, size)).save(folder / f"p{number}.png")
    return sorted(folder.iterdir())


def call(*words: object):
    return CliRunner().invoke(app, ["render", *map(str, words), "--device", "cpu"])


def test_inputs_are_spread_and_the_ends_come_first():
    assert choose_inputs(10, 2) == [0, 9]
    assert choose_inputs(10, 4) == [0, 9, 3, 6]
    assert choose_inputs(3, 3) == [0, 2, 1]
    assert choose_inputs(4, 1) == [0]
    with pytest.raises(ValueError, match="3 input views of 2 pictures; give more pictures or fewer --inputs"):
        choose_inputs(2, 3)


def test_passes_have_the_number_of_targets_of_training_and_cover_every_view():
    assert passes(5, [0, 4], 2) == [[1, 2], [3, 0]]
    assert passes(2, [0, 1], 3) == [[0, 1, 0]]
    assert passes(5, [0, 4], None) == [[1, 2, 3]]
    assert passes(2, [0, 1], None) == [[0]]


def test_a_later_pass_is_carried_into_the_frame_of_the_first():
    first = np.stack([np.eye(4)] * 3)
    first[:, :3, 3] = [[0, 0, 0], [1, 0, 0], [0, 2, 1]]
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    second = transform_cameras(first, (2.0, turn, np.array([3.0, 4, 5])))
    assert np.allclose(second[1, :3, 3], [3, 6, 5])
    np.testing.assert_allclose(_in_frame_of(first, second, 2), first, atol=1e-12)
    assert _in_frame_of(first, second, 1) is None, "one input leaves the scale open"
    assert _in_frame_of(None, second, 2) is second


def test_every_view_is_rendered_as_the_model_renders_it():
    model, images = tiny(), pictures(5)
    found, scene = render_views(model, images, [0, 4], targets=2, backbone=None, gated=False, device="cpu")
    assert [(view.number, view.is_input) for view in found] == [
        (0, True),
        (1, False),
        (2, False),
        (3, False),
        (4, True),
    ]
    first = model(torch.from_numpy(images)[[0, 4, 1, 2]][None].permute(0, 1, 4, 2, 3).float() / 255, 2)
    np.testing.assert_allclose(found[2].common_c2w, first.cameras.c2w[0, 3].detach(), atol=1e-6)
    every = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        first = model(every[[0, 4, 1, 2]][None], 2, render_inputs=True)
        second = model(every[[0, 4, 3, 0]][None], 2)
    assert torch.allclose(found[2].rendering, first.render[0, 1], atol=1e-5)
    assert torch.allclose(found[4].rendering, first.render_inputs[0, 1], atol=1e-5)
    assert torch.allclose(found[3].rendering, second.render[0, 0], atol=1e-5)
    assert torch.allclose(found[3].cameras.c2w[0, 0], second.cameras.c2w[0, 2], atol=1e-5)
    assert all(view.probability is None and view.replaced is None for view in found)
    path = list(render_path(model, scene, 5, batch=2))
    assert len(path) == 5
    assert torch.allclose(path[0][1], found[0].rendering, atol=1e-4)
    assert torch.allclose(path[-1][1], found[4].rendering, atol=1e-4)
    assert torch.allclose(path[-1][0].c2w[0, 0], first.cameras.c2w[0, 1], atol=1e-6)


def test_the_path_follows_the_order_of_the_views():
    model, images = tiny(), pictures(3)
    found, scene = render_views(model, images, choose_inputs(3, 3), targets=2, backbone=None, gated=False, device="cpu")
    cameras = [view.cameras.c2w[0, 0] for view in found]
    path = [camera.c2w[0, 0] for camera, _ in render_path(model, scene, 3)]
    assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(path, cameras, strict=True))


def test_a_gated_pass_keeps_marked_tokens_out():
    model, images = tiny(), pictures(3)
    backbone = Descriptor(patch_size=4)
    found, _ = render_views(model, images, [0, 2], targets=2, backbone=backbone, gated=True, device="cpu")
    every = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    batch = every[[0, 2, 1, 0]][None]
    with torch.no_grad():
        result = model(batch, 2, features=backbone(batch[0])[None], motion=True)
    assert torch.allclose(found[1].rendering, result.render[0, 0], atol=1e-5)
    assert torch.equal(found[0].replaced, result.token_mask[0, 0].view(6, 6))
    assert found[1].replaced is None
    assert torch.allclose(found[1].probability, result.motion_logits[0, 2, 0].sigmoid(), atol=1e-5)


def test_a_folder_holds_everything_asked_for(tmp_path):
    paths = photos(tmp_path / "in", [(40, 24), (24, 24), (24, 48)])
    out = tmp_path / "out"
    result = call(
        checkpoint(tmp_path / "joint"), *paths, "--out", out, "--inputs", 2, "--video", "--path-frames", 7, "--masks",
        "--plucker",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "cropped  2 of 3 images to the central square, at least 50% is kept" in result.stdout
    names = ["000", "001", "002"]
    for folder, suffix in (("renderings", "png"), ("masks", "png"), ("plucker", "npy")):
        assert sorted(path.name for path in (out / folder).iterdir()) == [f"{name}.{suffix}" for name in names]
    with Image.open(out / "renderings" / "001.png") as image:
        assert (image.size, image.mode) == ((SIZE, SIZE), "RGB")
    with Image.open(out / "masks" / "001.png") as image:
        assert (image.size, image.mode) == ((SIZE, SIZE), "L")
    about = json.loads((out / "render.json").read_text())
    assert [view["input"] for view in about["views"]] == [True, False, True]
    assert [view["recorded"] for view in about["views"]] == [[40, 24], [24, 24], [24, 48]]
    assert np.allclose(about["views"][0]["c2w"], np.eye(4), atol=1e-6)
    assert np.allclose(about["path"]["cameras"][6]["c2w"], about["views"][2]["c2w"], atol=1e-5)
    rays = np.load(out / "plucker" / "001.npy")
    assert rays.shape == (6, SIZE, SIZE)
    assert np.allclose(np.linalg.norm(rays[3:], axis=0), 1, atol=1e-5)
    page = (out / "index.html").read_text()
    for heading in ("Recorded and rendered", "Motion masks", "Camera path", "Plücker rays"):
        assert heading in page
    assert 'src="data:video/mp4;base64,' in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_video_gives_frames_and_a_page_without_what_was_not_asked_for(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", 9, size=(48, 24))
    result = call(checkpoint(tmp_path / "joint"), clip, "--out", tmp_path / "out", "--frames", 5)
    assert result.exit_code == 0, result.output
    about = json.loads((tmp_path / "out" / "render.json").read_text())
    assert [view["name"] for view in about["views"]] == [f"a.mp4 at 0.{n}0 s" for n in (0, 2, 4, 6, 8)]
    assert [view["input"] for view in about["views"]] == [True, False, True, False, True]
    assert about["gated"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<video" not in page
    assert "Motion masks" not in page
    assert "Plücker" not in page
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.html",
        "recorded",
        "render.json",
        "renderings",
    ]
    # three inputs and two targets are one pass, whose cameras need no other frame
    assert all(np.allclose(view["c2w_common"], view["c2w"], atol=1e-6) for view in about["views"])


def test_a_static_renderer_says_that_nothing_is_removed(tmp_path):
    paths = photos(tmp_path / "in", [(24, 24)] * 2)
    folder = checkpoint(tmp_path / "pretrain", "pretrain", features=None, features_digest=None)
    result = call(folder, *paths, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "nothing is removed" in result.stdout
    assert "a static renderer whose motion head is not trained yet" in (tmp_path / "out" / "index.html").read_text()
    refused = call(folder, *paths, "--out", tmp_path / "other", "--masks")
    assert (refused.exit_code, "--masks:" in refused.stderr) == (2, True)
    assert not list(tmp_path.glob("*other*"))


def test_view_counts_not_trained_for_are_refused_unless_forced(tmp_path):
    paths = photos(tmp_path / "in", [(24, 24)] * 5)
    folder = checkpoint(tmp_path / "joint")
    result = call(folder, *paths, "--out", tmp_path / "out", "--inputs", 4)
    assert result.exit_code == 2
    assert "was trained with [2, 3] input views, not 4" in result.stderr
    single = call(folder, paths[0], "--out", tmp_path / "out")
    assert (single.exit_code, "input views, not 1; give as many pictures" in single.stderr) == (2, True)
    forced = call(folder, *paths, "--out", tmp_path / "out", "--inputs", 4, "--force")
    assert forced.exit_code == 0, forced.output
    assert "forced" in forced.stderr
    assert "not 4. The quality may be poor." in (tmp_path / "out" / "index.html").read_text()


def test_other_features_are_refused_unless_forced(tmp_path):
    paths = photos(tmp_path / "in", [(24, 24)] * 2)
    folder = checkpoint(tmp_path / "joint", features_digest="0123456789abcdef")
    result = call(folder, *paths, "--out", tmp_path / "out")
    assert (result.exit_code, "features descriptor (0123456789abcdef)" in result.stderr) == (2, True)
    assert call(folder, *paths, "--out", tmp_path / "out", "--force").exit_code == 0
    nameless = checkpoint(tmp_path / "released", "released", features=None, features_digest=None)
    result = call(nameless, *paths, "--out", tmp_path / "other")
    assert (result.exit_code, "needs DINOv3 features of width 15; name a local" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.png"], "none.png: no such file"),
        (["a.mp4", "b.mp4"], "name image files, or one folder of images, or one video"),
        (["p.png", "a.mp4"], "name image files, or one folder of images, or one video"),
        (["p.txt"], "unknown suffix '.txt'"),
        (["broken.png"], "image cannot be decoded"),
    ],
)
def test_unusable_pictures_are_named(tmp_path, words, message):
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, 3)
    Image.fromarray(frame(0)).save(tmp_path / "p.png")
    (tmp_path / "p.txt").write_text("text")
    (tmp_path / "broken.png").write_bytes((tmp_path / "p.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=re.escape(message)):
        read_views([tmp_path / word for word in words], image_size=SIZE, frames=3)


def test_an_existing_folder_and_a_missing_checkpoint_are_named(tmp_path):
    paths = photos(tmp_path / "in", [(24, 24)] * 2)
    result = call(tmp_path / "none", *paths, "--out", tmp_path / "out")
    assert (result.exit_code, "no checkpoint here" in result.stderr) == (2, True)
    result = call(checkpoint(tmp_path / "joint"), *paths, "--out", tmp_path / "in")
    assert (result.exit_code, "in exists and is no earlier rendering" in result.stderr) == (2, True)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "render.json").touch()
    result = call(checkpoint(tmp_path / "again"), *paths, "--out", tmp_path / "old")
    assert (result.exit_code, "replace it with --overwrite" in result.stderr) == (2, True)
    result = call(tmp_path / "again", *paths, "--out", tmp_path / "old", "--overwrite")
    assert (result.exit_code, (tmp_path / "old" / "index.html").is_file()) == (0, True)
    assert not list(tmp_path.glob(".old*"))


def test_videos_are_enlarged_even_and_in_the_encoder_that_there_is(tmp_path):
    encoder = pick_encoder(("no such encoder", "mpeg4"))
    assert encoder == "mpeg4"
    with pytest.raises(ValueError, match="encodes none of nothing"):
        pick_encoder(("nothing",))
    frames = [np.full((25, 27, 3), 20 * number, np.uint8) for number in range(6)]
    assert write_video(tmp_path / "a.mp4", frames, fps=12, encoder=encoder) == "mpeg4"
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("mpeg4", 298, 276)
        assert stream.average_rate == 12
        found = [picture.to_ndarray(format="rgb24") for picture in container.decode(stream)]
    assert [round(float(image.mean()) / 20) for image in found] == list(range(6))
    with pytest.raises(ValueError, match="needs at least one frame"):
        write_video(tmp_path / "b.mp4", [])


def test_the_preferred_encoder_gives_a_faithful_video(tmp_path):
    frames = [frame(number, (256, 256)) for number in range(0, 30, 5)]
    write_video(tmp_path / "a.mp4", frames)
    with av.open(str(tmp_path / "a.mp4")) as container:
        found = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    assert len(found) == len(frames)
    assert max(np.abs(one.astype(int) - two).mean() for one, two in zip(found, frames, strict=True)) < 3


def test_plucker_pictures_by_hand():
    # o = (0, 2, 0), d = (0, 0, 1): moment o × d = (2, 0, 0); beside it what is no line
    rays = np.zeros((6, 1, 2))
    rays[:, 0, 0] = [2, 0, 0, 0, 0, 1]
    rays[:, 0, 1] = [0, 0, 3, 0, 0, -1]
    assert moment_length(rays).tolist() == [[2, 3]]
    assert klein_residual(rays).tolist() == [[0, 3]]
    assert direction_picture(rays[3:]).tolist() == [[[128, 128, 255], [128, 128, 0]]]
