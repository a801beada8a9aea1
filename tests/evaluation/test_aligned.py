"""Renderings whose input cameras the targets cannot leak into."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from wildrayzer.config import ModelConfig
from wildrayzer.config.sections.benchmark import CosegConfig
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm
from wildrayzer.data.sampling.index_file import EvaluationWindow
from wildrayzer.evaluation.methods.aligned import TwinClips, aligned_cameras, sees_only_its_own_views
from wildrayzer.evaluation.methods.render_method import render_method
from wildrayzer.evaluation.methods.view_rows import ViewRow
from wildrayzer.evaluation.metrics.poses import transform_cameras
from wildrayzer.evaluation.window_batches import WindowBatch, read_windows
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.backbones.descriptor import Descriptor
from wildrayzer.run.row_specs import ROW_SPECS

SMALL = {
    "image_size": 16, "patch_size": 8, "width": 32, "head_width": 16, "camera_blocks": 2, "scene_blocks": 1,
    "decoder_blocks": 1, "scene_tokens": 3, "init_std": 0.15, "motion_head": None,
}  # fmt: skip
PAIRWISE = SMALL | {"camera_encoder": "pairwise", "view_embedding": "type"}


def build(config):
    torch.manual_seed(0)
    return WildRayZer(ModelConfig(**config)).eval()


def windows(seed=0, *, inputs_of=None, k=3):
    images = torch.rand(2, k + 2, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    if inputs_of is not None:
        images[:, :k] = inputs_of.images[:, :k]
    return WindowBatch(
        frames=np.tile(np.arange(k + 2), (2, 1)), scenes=["a", "b"], images=images, clean=None, masks=None, num_inputs=k
    )


@pytest.mark.parametrize("k", [2, 3])
def test_with_the_pairwise_encoder_aligned_is_ordinary(k):
    model, batch = build(PAIRWISE), windows(k=k)
    assert sees_only_its_own_views(model)
    ordinary, aligned = (render_method("static", batch, model=model, aligned=flag)[0] for flag in (False, True))
    torch.testing.assert_close(aligned, ordinary, atol=1e-3, rtol=0)


def test_with_the_joint_encoder_targets_move_ordinary_input_cameras_only():
    model, batch = build(SMALL), windows()
    other = windows(1, inputs_of=batch)
    assert not sees_only_its_own_views(model)
    plain = [model.predict_cameras(b.images, model.tokenize(b.images), num_inputs=3).c2w[:, :3] for b in (batch, other)]
    assert (plain[0] - plain[1]).abs().max() > 1e-4, "targets leak into the cameras of the inputs"
    (first, sure), (second, _) = (aligned_cameras(model, b.images, 3) for b in (batch, other))
    assert sure.all()
    torch.testing.assert_close(first.c2w[:, :3], second.c2w[:, :3], atol=0, rtol=0)


def test_target_cameras_are_carried_into_the_frame_of_the_inputs_alone(monkeypatch):
    """Both passes see the same cameras, but the pass over the inputs only in another frame and scale."""
    model, batch = build(SMALL), windows()
    joint = np.tile(np.eye(4), (2, 5, 1, 1))
    joint[:, :, :3, :3] = Rotation.random(10, random_state=0).as_matrix().reshape(2, 5, 3, 3)
    joint[:, :, :3, 3] = np.random.default_rng(0).normal(size=(2, 5, 3))
    similarity = (0.5, Rotation.from_euler("xyz", [1, 0.3, -0.7]).as_matrix(), np.array([1.0, -2.0, 0.5]))
    own = transform_cameras(joint, similarity)
    focal = torch.tensor([1.0, 1.0, 0.5, 0.5])

    def predicted(images, tokens, *, num_inputs):
        cameras = joint if images.shape[1] == 5 else own[:, :3]
        c2w = torch.from_numpy(cameras).float()
        return Cameras(c2w=c2w, intrinsics=focal.expand(*c2w.shape[:2], 4) * (1 if images.shape[1] == 5 else 2))

    monkeypatch.setattr(model, "predict_cameras", predicted)
    cameras, determined = aligned_cameras(model, batch.images, 3)
    assert determined.all()
    np.testing.assert_allclose(cameras.c2w.numpy(), own, atol=1e-5)
    assert cameras.intrinsics[:, :, 0].tolist() == [[2, 2, 2, 1, 1]] * 2, "each view's from the pass that places it"


def test_a_window_whose_input_cameras_coincide_has_no_aligned_rendering(monkeypatch):
    model, batch = build(SMALL), windows()

    def in_one_place(images, tokens, *, num_inputs):
        views = images.shape[1]
        c2w = torch.eye(4).repeat(2, views, 1, 1)
        c2w[1, :, 0, 3] = torch.arange(views).float()  # only the first window's centres coincide
        return Cameras(c2w=c2w, intrinsics=torch.tensor([1.0, 1.0, 0.5, 0.5]).expand(2, views, 4))

    monkeypatch.setattr(model, "predict_cameras", in_one_place)
    rendering, _ = render_method("static", batch, model=model, aligned=True)
    assert rendering[0].isnan().all()
    assert rendering[1].isfinite().all()


def write_split(path, split, *, seed, scenes=3):
    rng = np.random.default_rng(seed)
    with FrameStoreWriter(path, StoreForm(16, StoreConfig(frames_per_shard=16))) as writer:
        for scene in range(scenes):
            frames = rng.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
            c2w, intrinsics = np.tile(np.eye(4), (6, 1, 1)), np.tile([1.0, 1.0, 0.5, 0.5], (6, 1))
            writer.add_scene(f"{split}_{scene:05d}", frames, c2w=c2w, intrinsics=intrinsics)
    return FrameStore(path)


def row_of(method, model):
    return ViewRow(method, ROW_SPECS[method], model, None, None, CosegConfig())


def test_transferred_renderings_take_all_cameras_from_the_twin_and_all_pixels_from_the_clip(tmp_path):
    store = write_split(tmp_path / "0.zarr", "a", seed=0)
    other = write_split(tmp_path / "1.zarr", "a_twin", seed=1)
    batch = read_windows(store, [EvaluationWindow(scene, (0, 5), (2, 3)) for scene in (0, 2)])
    twins = TwinClips(tmp_path / "1.zarr").images(batch)
    expected = read_windows(other, [EvaluationWindow(scene, (0, 5), (2, 3)) for scene in (0, 2)]).images
    assert torch.equal(twins, expected)
    model = build(SMALL)
    row = row_of("static", model)
    gate = row.gate_inputs(batch)
    transferred = row.render_transferred(batch, gate, twins)
    cameras = model.predict_cameras(twins, model.tokenize(twins), num_inputs=2)
    with torch.no_grad():
        torch.testing.assert_close(transferred, model(batch.images, 2, cameras=cameras).render)
    ordinary, _ = row.render(batch, gate)
    assert (transferred - ordinary).abs().max() > 1e-4
    torch.testing.assert_close(row.render_transferred(batch, gate, batch.images), ordinary)
    assert row_of("nearest", None).render_transferred(batch, gate, twins) is None


def test_features_of_the_inputs_are_computed_once_for_all_renderings_of_a_batch(tmp_path):
    store = write_split(tmp_path / "0.zarr", "a", seed=0)
    batch = read_windows(store, [EvaluationWindow(scene, (0, 5), (2, 3)) for scene in (0, 2)])
    seen = []

    class Counting(Descriptor):
        def __call__(self, images):
            seen.append(len(images))
            return super().__call__(images)

    head = {"blocks": 1, "feature_width": Descriptor.width}
    model = build({**SMALL, "motion_head": head})
    backbone = Counting(patch_size=model.config.patch_size)
    row = ViewRow("joint", ROW_SPECS["joint"], model, backbone, None, CosegConfig())
    gate = row.gate_inputs(batch)
    rendering, result = row.render(batch, gate)
    assert row.render_aligned(batch, gate, rendering) is not None
    assert row.render_transferred(batch, gate, batch.images) is not None
    assert seen == [4]  # two inputs of two windows
    expected, other = render_method("joint", batch, model=model, backbone=backbone)
    assert torch.equal(rendering, expected)
    assert torch.equal(result.motion_logits, other.motion_logits)


def test_a_clip_without_a_twin_is_named(tmp_path):
    store = write_split(tmp_path / "a.zarr", "a", seed=0)
    write_split(tmp_path / "b.zarr", "b", seed=1, scenes=1)
    batch = read_windows(store, [EvaluationWindow(2, (0, 5), (2,))])
    with pytest.raises(ValueError, match=r"b\.zarr has no twin of the clip a_00002; prepare both splits whole"):
        TwinClips(tmp_path / "b.zarr").images(batch)
