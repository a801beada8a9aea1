"""Checkpoints of Open-RayZer and LVSM: recorded figures, further cases against plain networks, import and export."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from tests.helpers.golden import draw_images, draw_weights, read_case
from tests.helpers.plain_systems import PlainLvsm, PlainOpenRayzer
from wildrayzer.checkpoint import load_tensors, read_manifest
from wildrayzer.cli.main import app
from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models import WildRayZer
from wildrayzer.models.cost.parameters import parameter_counts
from wildrayzer.released.convert import import_released, map_released
from wildrayzer.released.naming import names_of
from wildrayzer.released.sizes import OPEN_RAYZER

AIM = 1e-5
SIZES = {"image_size": 16, "patch_size": 8, "width": 32, "head_width": 16, "decoder_blocks": 2}
LVSM = SIZES | {"kind": "lvsm", "scene_blocks": 2, "scene_tokens": 5}
DECODER_ONLY = SIZES | {"kind": "lvsm_decoder_only"}
PIXEL = SIZES | OPEN_RAYZER
PIXEL |= {"camera_attention": "alternating", "patch_positions": "rope2d", "token_fusion": "pixel"}
PIXEL |= {"camera_blocks": 2, "scene_blocks": 1, "scene_tokens": 5}
WITHOUT_ROPE = {"patch_positions": "none", "qk_norm_eps": 1e-3, "camera_attention": "per_view"}
KINDS = {"lvsm": LVSM, "decoder only": DECODER_ONLY, "open_rayzer": PIXEL,
         "feature fusion": PIXEL | {"token_fusion": "residual"}, "without rope": PIXEL | WITHOUT_ROPE}  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def shapes_of(config):
    """Shapes by released name; the two maps of pixel fusion are one."""
    with torch.device("meta"):
        state = WildRayZer(config).state_dict()
    names, shapes = names_of(config), {}
    for name, value in state.items():
        theirs = names.released(name)
        shapes[theirs] = (len(value), value.shape[1] + shapes[theirs][1]) if theirs in shapes else tuple(value.shape)
    return shapes


def draw_cameras(batch, views, size, seed):
    """Cameras by the rule of the recorded cases."""
    g = np.random.default_rng(seed + 600000)
    c2w = np.tile(np.eye(4, dtype=np.float32), (batch, views, 1, 1))
    rotations = Rotation.from_rotvec(g.normal(0, 0.2, (batch * views, 3))).as_matrix()
    c2w[..., :3, :3] = rotations.reshape(batch, views, 3, 3)
    c2w[..., :3, 3] = g.normal(0, 1, (batch, views, 3))
    fxfycxcy = np.tile(np.array([0.9, 1.1, 0.5, 0.5], dtype=np.float32) * size, (batch, views, 1))
    return c2w, fxfycxcy


def write(folder, state, images, expected, cameras=None):
    torch.save({"model": state, "optimizer": {}}, folder / "in.pt")
    np.savez(folder / "images.npz", images=np.asarray(images))
    np.savez(folder / "expected.npz", **{name: np.asarray(value) for name, value in expected.items()})
    if cameras is not None:
        np.savez(folder / "cameras.npz", c2w=cameras[0], fxfycxcy=cameras[1])


def verify(folder, *options, inputs=2):
    """Rows of the command by array, or its failure."""
    files = [f"--{name}={folder / name}.npz" for name in ("images", "expected")]
    given = [f"--cameras={folder / 'cameras.npz'}"] if (folder / "cameras.npz").exists() else []
    result = run("released", "verify", folder / "in.pt", *files, *given, "--inputs", inputs, *options)
    lines = [line.split() for line in result.stdout.splitlines() if len(line.split()) >= 3]
    return result, {line[0]: float(line[1]) for line in lines if line[0] in ("c2w", "c2w_normalised", "fov", "render")}


@pytest.mark.parametrize("name", ["lvsm_encoder_decoder", "lvsm_decoder_only", "open_rayzer"])
def test_recorded_cases_verify(tmp_path, name):
    case, keys, expected = read_case(name)
    cameras = None
    if name != "open_rayzer":
        cameras = draw_cameras(case["batch"], case["vin"] + case["vtg"], case["img"], case["seed"])
        np.testing.assert_allclose(cameras[0], expected.pop("c2w_given"), atol=1e-6)
        np.testing.assert_allclose(cameras[1], expected.pop("fxfycxcy"))
    images = draw_images(case["batch"], case["vin"] + case["vtg"], case["img"], case["seed"])
    write(tmp_path, draw_weights(keys, case["seed"]), images, expected, cameras)
    result, rows = verify(tmp_path, inputs=case["vin"])
    assert result.exit_code == 0, result.output
    assert set(rows) == set(expected)
    assert max(rows.values()) < AIM
    expected["render"][1, 0, 2, 3, 4] += 1e-3
    np.savez(tmp_path / "expected.npz", render=expected["render"])
    assert verify(tmp_path, inputs=case["vin"])[0].exit_code == 1


@pytest.mark.parametrize(
    ("options", "inputs", "targets"),
    [
        (LVSM, 3, 2),
        (LVSM | {"image_size": 8, "patch_size": 4, "width": 20, "head_width": 5, "scene_blocks": 3}, 4, 1),
        (DECODER_ONLY, 2, 1),
        (DECODER_ONLY | {"image_size": 8, "patch_size": 4, "width": 48, "head_width": 24, "decoder_blocks": 4}, 3, 2),
    ],
)
def test_lvsm_agrees_with_the_plain_network(tmp_path, options, inputs, targets):
    config = ModelConfig(**options)
    weights = draw_weights(shapes_of(config), 51)
    images = draw_images(1, inputs + targets, config.image_size, 51)
    cameras = draw_cameras(1, inputs + targets, config.image_size, 51)
    plain = PlainLvsm(weights, config.image_size, config.patch_size, config.head_width, inputs)
    expected = plain.run_views(images[0], cameras[0][0], cameras[1][0])
    write(tmp_path, weights, images, {name: value[None] for name, value in expected.items()}, cameras)
    result, rows = verify(tmp_path, inputs=inputs)
    assert result.exit_code == 0, result.output
    assert max(rows.values()) < AIM


@pytest.mark.parametrize(
    ("options", "inputs", "targets"),
    [
        (PIXEL, 3, 1),
        (PIXEL | {"token_fusion": "residual"}, 2, 2),
        (PIXEL | {"camera_attention": "per_view", "camera_blocks": 3}, 4, 1),
        (PIXEL | WITHOUT_ROPE, 2, 1),
        (PIXEL | {"image_size": 8, "patch_size": 4, "width": 20, "head_width": 4, "camera_blocks": 4}, 2, 1),
    ],
)
def test_open_rayzer_agrees_with_the_plain_network(tmp_path, options, inputs, targets):
    config = ModelConfig(**options)
    weights = draw_weights(shapes_of(config), 52)
    images = draw_images(1, inputs + targets, config.image_size, 52)
    plain = PlainOpenRayzer(weights, config.image_size, config.patch_size, config.head_width, inputs)
    plain.alternating = config.camera_attention == "alternating"
    expected = plain.run_views(images[0])
    write(tmp_path, weights, images, {name: value[None] for name, value in expected.items()})
    result, rows = verify(tmp_path, f"--camera-attention={config.camera_attention}", inputs=inputs)
    assert result.exit_code == 0, result.output
    assert set(rows) == {"c2w", "fov", "render"}
    assert max(rows.values()) < AIM


@pytest.mark.parametrize("name", KINDS)
def test_import_infers_the_network_and_export_gives_the_same_tensors(tmp_path, name):
    config = ModelConfig(**KINDS[name])
    state = draw_weights(shapes_of(config), 3)
    torch.save({"model": {f"module.{key}": value for key, value in state.items()} | {
        "module.loss_computer.vgg": torch.zeros(2)}, "fwdbwd_pass_step": 7}, tmp_path / "in.pt")  # fmt: skip
    result = run("released", "import", tmp_path / "in.pt", "--out", tmp_path / "ours", "--image-size", 16)
    assert result.exit_code == 0, result.output
    assert ("warning  camera attention per_view" in result.output) is (name == "without rope")
    assert "canonical" not in result.output
    assert read_manifest(tmp_path / "ours").model == config
    total = sum(value.numel() for value in state.values())
    assert f"{total:,} parameters" in result.output
    assert sum(value.numel() for value in load_tensors(tmp_path / "ours").values()) == total
    described = run("released", "describe", tmp_path / "ours").output
    assert ("given cameras" if config.kind != "wildrayzer" else "pi3 camera head") in described
    assert run("released", "export", tmp_path / "ours", "--out", tmp_path / "out.pt").exit_code == 0
    back = torch.load(tmp_path / "out.pt", weights_only=True)["model"]
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], value) for key, value in state.items())


@pytest.mark.parametrize("name", KINDS)
def test_missing_and_unknown_weights_are_named(tmp_path, name):
    state = draw_weights(shapes_of(ModelConfig(**KINDS[name])), 3)
    for key in list(state)[::7]:
        torch.save({other: value for other, value in state.items() if other != key}, tmp_path / "in.pt")
        with pytest.raises(ValueError, match=r"(missing|needed to tell|unknown)") as error:
            map_released(tmp_path / "in.pt", image_size=16)
        stack = key.split(".")[0]
        assert key in str(error.value) or (f"{stack}." in str(error.value) and ".0." in key) or "encoder_fuse" in key
    torch.save(state | {"surprise.weight": torch.zeros(2)}, tmp_path / "in.pt")
    with pytest.raises(ValueError, match=r"unknown weight surprise\.weight"):
        map_released(tmp_path / "in.pt", image_size=16)


def test_full_sizes_have_the_published_parameter_counts():
    lvsm = ModelConfig(kind="lvsm", patch_size=8, scene_blocks=12, decoder_blocks=12, scene_tokens=3072)
    decoder_only = ModelConfig(kind="lvsm_decoder_only", patch_size=8, decoder_blocks=24)
    full = {"camera_blocks": 8, "scene_blocks": 8, "decoder_blocks": 8, "scene_tokens": 512}
    open_rayzer = ModelConfig(**OPEN_RAYZER, patch_positions="rope2d", token_fusion="pixel", **full)
    totals = [sum(parameter_counts(config).values()) for config in (lvsm, decoder_only, open_rayzer)]
    assert totals[:2] == [173_154_816, 170_795_520]
    assert round(totals[2] / 1e6, 2) == 180.35


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        (PIXEL | {"camera_blocks": 3}, {}, "estimator_blocks: 3 blocks; Open-RayZer cannot run alternating attention"),
        (PIXEL | WITHOUT_ROPE, {"camera_attention": "alternating"}, "alternates with rotary positions only"),
        (LVSM, {"camera_attention": "joint"}, "camera attention joint: the weights are no Open-RayZer's"),
        (PIXEL, {"image_size": 20}, "model.patch_size = 8 does not divide model.image_size = 20"),
    ],
)
def test_what_the_original_cannot_run_is_refused(tmp_path, options, arguments, message):
    torch.save(draw_weights(shapes_of(ModelConfig(**options)), 3), tmp_path / "in.pt")
    with pytest.raises(ValueError, match=message):
        import_released(tmp_path / "in.pt", tmp_path / "ours", **({"image_size": 16} | arguments))
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view_embedding": "number"}, "model.view_embedding: number"),
        ({"token_fusion": "mlp"}, "model.token_fusion: mlp"),
        ({"camera_blocks": 3}, "model.camera_attention: alternating"),
        ({"qk_norm_eps": 1e-3}, "model.qk_norm_eps: 0.001 with model.patch_positions: rope2d"),
    ],
)
def test_what_open_rayzer_cannot_express_is_not_exported(tmp_path, options, message):
    from wildrayzer.checkpoint import save_checkpoint

    model = WildRayZer(ModelConfig(**(PIXEL | options)))
    save_checkpoint(tmp_path / "ours", model, stage="pretrain", step=1, inputs=2, targets=1, config_digest="c")
    result = run("released", "export", tmp_path / "ours", "--out", tmp_path / "out.pt")
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        (None, "LVSM takes the cameras of all views; name an NPZ file with --cameras"),
        ({"c2w": np.zeros((1, 2, 4, 4))}, "c2w has shape [1, 2, 4, 4], expected [1, 3, 4, 4]"),
        ({"c2w": 2 * np.tile(np.eye(4), (1, 3, 1, 1))}, "c2w holds matrices that are no rigid motion"),
        ({"c2w": np.full((1, 3, 4, 4), np.nan)}, "c2w has values that are not finite"),
        ({"fxfycxcy": None}, "no array 'fxfycxcy'; it holds c2w"),
        ({"fxfycxcy": np.zeros((1, 3, 4))}, "fxfycxcy has a focal length that is not positive"),
    ],
)
def test_faulty_cameras_are_named(tmp_path, cameras, message):
    images = draw_images(1, 3, 16, 1)
    c2w, fxfycxcy = draw_cameras(1, 3, 16, 1)
    write(tmp_path, draw_weights(shapes_of(ModelConfig(**LVSM)), 3), images, {"render": images[:, 2:]})
    if cameras is not None:
        arrays = {"c2w": c2w, "fxfycxcy": fxfycxcy} | cameras
        np.savez(tmp_path / "cameras.npz", **{name: value for name, value in arrays.items() if value is not None})
    result, _ = verify(tmp_path)
    assert result.exit_code == 2
    assert message in result.output


def test_arrays_and_files_of_another_kind_are_refused(tmp_path):
    images, cameras = draw_images(1, 3, 16, 1), draw_cameras(1, 3, 16, 1)
    write(tmp_path, draw_weights(shapes_of(ModelConfig(**LVSM)), 3), images, {"c2w": cameras[0]}, cameras)
    assert "holds c2w, but the cameras of" in verify(tmp_path)[0].output
    assert "holds images of 16 pixels" in verify(tmp_path, "--image-size", 256)[0].output
    torch.save(draw_weights(shapes_of(ModelConfig(**PIXEL)), 3), tmp_path / "in.pt")
    assert "predicts its cameras; drop --cameras" in verify(tmp_path)[0].output.replace("\n", " ")
    (tmp_path / "cameras.npz").unlink()
    np.savez(tmp_path / "expected.npz", c2w_normalised=cameras[0])
    assert "holds c2w_normalised, but the cameras of" in verify(tmp_path)[0].output
