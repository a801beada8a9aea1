"""Nothing of a step, a rendering or a score is made on the CPU where its inputs are elsewhere.

The meta device stands for a GPU; it computes shapes alone. What reads values back, K-means above all, cannot run on it,
nor can autocast, and no kernel of a GPU is called.
"""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.training.test_objective import CONFIG, batch
from wildrayzer.config import CropPretextConfig
from wildrayzer.evaluation.methods.render_method import render_method
from wildrayzer.evaluation.metrics.lpips import CONVOLUTIONS, MaskedLPIPS
from wildrayzer.evaluation.metrics.view_synthesis import image_metrics, target_regions
from wildrayzer.evaluation.window_batches import WindowBatch
from wildrayzer.geometry.interpolate import interpolate_cameras
from wildrayzer.geometry.rays import plucker_rays
from wildrayzer.images.psnr import psnr
from wildrayzer.images.ssim import ssim_map
from wildrayzer.losses import build_perceptual
from wildrayzer.losses.perceptual import VGGPerceptual
from wildrayzer.losses.vgg19 import CONVOLUTIONS as VGG19
from wildrayzer.losses.vgg19 import VGG19Features
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.clustering import quantised_directions
from wildrayzer.pseudo_masks.predictors import predict_by_control
from wildrayzer.pseudo_masks.residual_maps import feature_dissimilarity, pool_to_patches
from wildrayzer.training.augmentation import draw_token_mask
from wildrayzer.training.objective import RECIPES, Objective

META = torch.device("meta")
MODELS = {
    "paper": CONFIG.model.model_copy(update={"view_type_embedding": True, "checkpoint_every": 1}),
    "deviating": CONFIG.model.model_copy(
        update={
            "camera_encoder": "pairwise", "view_embedding": "type", "matching_init": True, "ray_encoding": "fourier",
            "decoder_context": "scene_and_inputs", "decoder_attention": "cross", "token_fusion": "linear",
            "focal": "shared", "pose": "quaternion",
        }
    ),
}  # fmt: skip


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, as GPUs do; single numbers may lie on the CPU."""

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        tensors = [one for one in tree_leaves((arguments, options)) if isinstance(one, torch.Tensor) and one.ndim]
        if len({tensor.device for tensor in tensors}) > 1 and operation.overloadpacket is not torch.ops.aten.copy_:
            raise RuntimeError(f"{operation} on {[(str(one.device), tuple(one.shape)) for one in tensors]}")
        return operation(*arguments, **(options or {}))


@pytest.fixture(autouse=True)
def _one_device(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    with OneDevice():
        yield


@pytest.fixture(params=MODELS)
def model(request):
    return WildRayZer(MODELS[request.param]).to(META)


@pytest.fixture
def backbone():
    return build_backbone(CONFIG.features, patch_size=4, device=META)


def vgg19():
    sizes = [(3, 2), *[(2, 2)] * (len(VGG19) - 1)]
    return {name: (torch.zeros(o, i, 3, 3), torch.zeros(o)) for name, (i, o) in zip(VGG19, sizes, strict=True)}


def lpips():
    widths = dict(zip(CONVOLUTIONS, (3, *CONVOLUTIONS.values()), strict=False))
    weights = {f"weight{n}": torch.zeros(o, widths[n], 3, 3) for n, o in CONVOLUTIONS.items()}
    weights |= {f"bias{n}": torch.zeros(o) for n, o in CONVOLUTIONS.items()}
    heads = {f"head{level}": torch.zeros(1, w, 1, 1) for level, w in enumerate((64, 128, 256, 512, 512))}
    return MaskedLPIPS(weights, heads).to(META)


def test_devices_that_do_not_go_together_are_found_here():
    for mix in (torch.add, torch.matmul, lambda a, b: torch.where(b > 0, a, a)):
        with pytest.raises(RuntimeError, match="meta"):
            mix(torch.ones(3, 3, device=META), torch.ones(3, 3))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_step(recipe, model, backbone):
    paper = model.config == MODELS["paper"]
    own = VGGPerceptual(VGG19Features(vgg19()), "x") if paper else build_perceptual(CONFIG.perceptual)
    changes = {"motion_gate": "pseudo" if paper else "predicted", "crop_pretext": CropPretextConfig(steps=5)}
    module = Objective(
        model=model, recipe=RECIPES[recipe], stage=CONFIG.joint.model_copy(update=changes), perceptual=own,
        perceptual_weight=0.1, backbone=backbone,
    ).to(META)  # fmt: skip
    tokens = draw_token_mask([0], batch=2, views=2, grid=6, share=0.25, clustered=True)
    crops = {"crop_views": torch.tensor([1, 3]), "crop_offsets": torch.zeros(2, 2, 2)}
    views = replace(batch(), token_mask=tokens if module.recipe.gates_tokens else None, **crops).to(META)
    loss, figures = module(views, 3)
    loss.backward()
    assert {value.device for value in (loss, *figures.values())} == {META}
    assert {parameter.grad.device for parameter in module.trained_parameters() if parameter.grad is not None} == {META}


@pytest.mark.parametrize("method", ["nearest", "static_true_masks", "static_clean", "joint"])
def test_a_rendering_and_its_scores(method, model, backbone):
    images, masks = torch.rand(2, 5, 3, 24, 24), torch.zeros(2, 5, 24, 24, dtype=torch.uint8)
    windows = WindowBatch(
        frames=np.array([[0, 4, 1, 2, 3]] * 2), scenes=["a", "b"], images=images.to(META), clean=images.to(META),
        masks=masks.to(META), num_inputs=2,
    )  # fmt: skip
    rendering, _ = render_method(method, windows, model=model, backbone=backbone)
    regions = {name: region.flatten(0, 1) for name, region in target_regions(windows).items()}
    scores = image_metrics(rendering.flatten(0, 1), windows.truth.flatten(0, 1), regions, lpips=lpips())
    assert {value.device for values in scores.values() for value in values.values()} == {META}


def test_a_camera_path(model):
    result = model(torch.rand(1, 4, 3, 24, 24, device=META), 2, render_inputs=True)
    path = interpolate_cameras(result.cameras.select(slice(2)), 5)
    assert {plucker_rays(path, 24, 24).device, model.ray_tokens(path, for_targets=True).device} == {META}


def test_residuals_up_to_their_clusters(backbone):
    targets, rendered = torch.rand(2, 3, 3, 24, 24, device=META), torch.rand(2, 3, 3, 24, 24, device=META)
    blurred = predict_by_control("blurred", targets[:, :2], targets, [], patch_size=4)
    flat = [images.flatten(0, 1) for images in (targets, rendered, blurred)]
    own, other = (backbone(images).reshape(2, 3, 36, -1) for images in flat[:2])
    found = [pool_to_patches(1 - ssim_map(*flat[:2], window=kind, size=5), 4) for kind in ("gaussian", "uniform")]
    found.append(feature_dissimilarity(own, other, centre=backbone.centre, anchor=backbone.anchor))
    found.append(quantised_directions(own, centre=backbone.centre, anchor=backbone.anchor))
    assert {value.device for value in (*found, psnr(flat[0], flat[2]))} == {META}
