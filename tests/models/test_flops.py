"""Operation counts against torch's own counter, and by hand."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

from wildrayzer.config import ModelConfig, PerceptualConfig, StageConfig, ViewsConfig
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.losses import build_perceptual
from wildrayzer.models import WildRayZer
from wildrayzer.models.cost.flops import Cost, Workload, block_cost, convolution, linear, model_cost, total
from wildrayzer.models.cost.parameters import parameter_counts
from wildrayzer.training.batch import Batch
from wildrayzer.training.objective import RECIPES, Objective

PAPER = {
    "image_size": 16, "patch_size": 4, "width": 32, "head_width": 16, "camera_blocks": 3, "scene_blocks": 2,
    "decoder_blocks": 3, "scene_tokens": 5, "motion_head": {"blocks": 2, "feature_width": 7},
}  # fmt: skip
DEMO = PAPER | {
    "image_size": 18, "patch_size": 6, "camera_encoder": "pairwise", "view_embedding": "type", "matching_init": True,
    "ray_encoding": "fourier", "decoder_context": "scene_and_inputs", "decoder_attention": "cross",
    "token_fusion": "linear", "focal": "shared",
}  # fmt: skip
OPEN_RAYZER = {
    "camera_attention": "alternating", "camera_head": "pi3", "image_range": "unit", "patch_positions": "rope2d",
    "view_embedding": "none", "token_fusion": "pixel", "encoder_norm": True, "output_norm": "plain",
}  # fmt: skip
VIT = {"width": 24, "hidden_width": 20, "blocks": 2, "heads": 2, "register_tokens": 1, "patch_size": 4}
LVSM = PAPER | {"kind": "lvsm", "motion_head": None, "camera_blocks": 0}
CONFIGS = {
    "paper": PAPER,
    "roles": PAPER | {"view_type_embedding": True, "canonical_view": "middle", "pose": "quaternion"},
    "type": PAPER | {"view_embedding": "type"},
    "cross_view": PAPER | {"motion_head": {"blocks": 2, "cross_view": True, "use_features": False}},
    "cross_residual": PAPER | {"motion_head": PAPER["motion_head"] | {"cross_residual": True, "ssim_size": 5}},
    "no_tokens": PAPER | {"motion_head": PAPER["motion_head"] | {"use_tokens": False}},
    "demo_cross_residual": DEMO | {"motion_head": DEMO["motion_head"] | {"cross_residual": True, "ssim_size": 5}},
    "convolutional": PAPER | {"motion_head": PAPER["motion_head"] | {"kind": "convolutional"}},
    "demo_convolutional": DEMO
    | {
        "motion_head": {
            "kind": "convolutional",
            "feature_width": 7,
            "blocks": 2,
            "use_tokens": False,
            "cross_residual": True,
            "ssim_size": 5,
        }
    },
    "demo": DEMO,
    "open_rayzer": PAPER | OPEN_RAYZER,
    "open_rayzer_recomputed": PAPER | OPEN_RAYZER | {"token_fusion": "residual", "checkpoint_every": 2},
    "dino": PAPER | {"image_tokenizer": "dinov3", "dinov3": VIT},
    "dino_trained": PAPER | {"image_tokenizer": "dinov3", "dinov3": VIT | {"trained": True}},
    "alternating": PAPER | {"camera_attention": "alternating"},
    "joint_pi3": PAPER | {"camera_head": "pi3"},
    "all_recomputed": PAPER | {"checkpoint_every": 1},
    "second_recomputed": PAPER | {"checkpoint_every": 2},
    "demo_recomputed": DEMO | {"checkpoint_every": 2},
}


def batch_of(config, batch, inputs, targets):
    generator = torch.Generator().manual_seed(0)
    side = config.image_size
    images = torch.rand(batch, inputs + targets, 3, side, side, generator=generator)
    return Batch(
        images=images,
        truth=images[:, inputs:],
        motion=(images[:, :, :1] > 0.5).float(),
        supervised=torch.ones(batch, inputs + targets),
        gate=torch.zeros(batch, targets, 1, side, side),
        dynamic=torch.ones(batch, dtype=torch.bool),
    )


class ConstantFeatures:
    """A backbone of the right width that computes nothing."""

    name = digest = "constant"
    patch_size, centre, anchor = 1, False, 0.0

    def __init__(self, config):
        self.width, self.grid = config.motion_head.feature_width, config.grid

    def __call__(self, images):
        return torch.ones(len(images), self.grid, self.grid, self.width)


def counted(recipe, config, *, batch=2, inputs=2, targets=3, **counter):
    """Operations of a training step by torch's counter: forward alone, and both passes."""
    torch.manual_seed(0)
    objective = Objective(
        model=WildRayZer(config),
        recipe=RECIPES[recipe],
        stage=StageConfig(views=ViewsConfig(targets=targets, min_distance=3), motion_gate="none"),
        perceptual=build_perceptual(PerceptualConfig(kind="none")),
        perceptual_weight=0.0,
        backbone=ConstantFeatures(config),
    )
    with FlopCounterMode(display=False, **counter) as flops:
        loss, _ = objective(batch_of(config, batch, inputs, targets), 0)
        forward = flops.get_total_flops()
        loss.backward()
    return forward, flops.get_total_flops()


def workload(recipe, *, batch=2, inputs=2, targets=3):
    wanted = RECIPES[recipe]
    return Workload(
        batch, inputs, targets,
        motion=wanted.uses_motion, gate_only=recipe == "masked", renders=wanted.trains_renderer,
        trains_renderer=wanted.trains_renderer, trains_motion=wanted.trains_motion,
    )  # fmt: skip


CASES = [(recipe, name) for name in CONFIGS for recipe in ("distill", "joint")]
CASES += [(recipe, name) for name in ("paper", "demo_recomputed") for recipe in ("pretrain", "masked")]
CASES += [("masked", "demo_cross_residual")]


@pytest.mark.parametrize(("recipe", "name"), CASES)
def test_formula_is_torchs_count_of_a_step(recipe, name):
    config = ModelConfig(**CONFIGS[name])
    with sdpa_kernel(SDPBackend.MATH):
        forward, both = counted(recipe, config)
    cost = total(model_cost(config, workload(recipe), attention_backward=2.0))
    # the 3×3 matrices of a rotation by singular value decomposition are left out
    allowed = 1e-3 if config.camera_head == "pi3" else 0
    assert (cost.forward, cost.total) == pytest.approx((forward, both), rel=allowed)


def test_fused_attention_is_counted_as_torch_counts_the_fused_kernels():
    aten = torch.ops.aten
    mapping = {
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop(q, k, v),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda g, q, k, v, *_, **__: sdpa_backward_flop(
            g, q, k, v
        ),
    }
    config = ModelConfig(**PAPER)
    forward, both = counted("pretrain", config, custom_mapping=mapping)
    cost = total(model_cost(config, workload("pretrain")))
    assert (cost.forward, cost.total) == (forward, both)


@pytest.mark.parametrize(("batch", "inputs", "targets"), [(1, 2, 1), (3, 3, 2), (1, 4, 6)])
def test_formula_follows_views_and_batch(batch, inputs, targets):
    config = ModelConfig(**PAPER)
    sizes = {"batch": batch, "inputs": inputs, "targets": targets}
    with sdpa_kernel(SDPBackend.MATH):
        _, both = counted("joint", config, **sizes)
    assert total(model_cost(config, workload("joint", **sizes), attention_backward=2.0)).total == both


@pytest.mark.parametrize("kind", ["lvsm", "lvsm_decoder_only"])
def test_formula_is_torchs_count_with_given_cameras(kind):
    sizes = {"scene_blocks": 0, "scene_tokens": 0} if kind == "lvsm_decoder_only" else {}
    config = ModelConfig(**(LVSM | sizes | {"kind": kind}))
    cameras = Cameras(torch.eye(4).repeat(2, 5, 1, 1), torch.tensor([1.0, 1.0, 0.5, 0.5]).expand(2, 5, 4))
    model = WildRayZer(config)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as flops:
        loss = model(torch.rand(2, 5, 3, 16, 16), 2, cameras=cameras).render.sum()
        forward = flops.get_total_flops()
        loss.backward()
    cost = total(model_cost(config, Workload(2, 2, 3), attention_backward=2.0))
    assert (cost.forward, cost.total) == (forward, flops.get_total_flops())
    assert set(model_cost(config, Workload(2, 2, 3))) == set(parameter_counts(config))


def test_layers_by_hand():
    assert linear(5, 2, 3) == Cost(60.0, 120.0)
    assert linear(5, 2, 3, first=True) == Cost(60.0, 60.0)
    assert convolution(1, 4, 2, 3, 3) == Cost(2.0 * 16 * 18 * 3, 4.0 * 16 * 18 * 3)
    # width 2, 3 tokens: qkv 72, attention 72, out 24, feed-forward 192
    assert block_cost(2, 1, 3).forward == 72 + 72 + 24 + 192
    # one query: q 8, kv 48, attention 24, out 8, feed-forward 64
    assert block_cost(2, 1, 3, 1).forward == 8 + 48 + 24 + 8 + 64


def test_parts_have_the_names_of_the_parameter_counts():
    config = ModelConfig(**PAPER)
    assert set(model_cost(config, workload("joint"))) == set(parameter_counts(config))


def test_recomputation_is_no_useful_work():
    names = ("paper", "second_recomputed", "all_recomputed")
    none, some, every = (total(model_cost(ModelConfig(**CONFIGS[name]), workload("pretrain"))) for name in names)
    assert none.useful == some.useful == every.useful
    assert 0 == none.recomputed < some.recomputed < every.recomputed < none.forward
