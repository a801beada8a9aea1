"""What each stage trains, what its gates keep out, and that parts of a batch add up."""

import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from wildrayzer.config import CropPretextConfig, load_config
from wildrayzer.losses import build_perceptual
from wildrayzer.models import WildRayZer
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.training.augmentation import draw_token_mask
from wildrayzer.training.batch import Batch
from wildrayzer.training.distributed import World
from wildrayzer.training.objective import RECIPES, Objective

CONFIG = load_config(Path(__file__).parents[1] / "resources" / "tiny.yaml")
FEATURES = build_backbone(CONFIG.features, patch_size=4, device="cpu")
ALONE = World(rank=0, size=1, device=torch.device("cpu"))


def objective(recipe, **stage):
    torch.manual_seed(0)
    base = CONFIG.stage("joint" if RECIPES[recipe].uses_motion else "pretrain")
    return Objective(
        model=WildRayZer(CONFIG.model), recipe=RECIPES[recipe], stage=base.model_copy(update=stage),
        perceptual=build_perceptual(CONFIG.perceptual), perceptual_weight=0.1, backbone=FEATURES,
    )  # fmt: skip


def batch(samples=2):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(samples, 4, 3, 24, 24, generator=generator)
    motion = torch.zeros(samples, 4, 1, 24, 24)
    motion[:, :, :, :12] = 1.0
    return Batch(
        images=images, truth=images[:, 2:].clone(), motion=motion, supervised=torch.ones(samples, 4),
        gate=motion[:, 2:].clone(), dynamic=torch.ones(samples, dtype=torch.bool),
    )  # fmt: skip


def trained(module):
    views = batch()
    if module.stage.token_mask_share:
        views = replace(views, token_mask=draw_token_mask([0], batch=2, views=2, grid=6, share=0.25, clustered=True))
    loss, _ = module(views, 3)
    loss.backward()
    return {
        name.removeprefix("model.")
        for name, parameter in module.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_gradients_reach_exactly_the_parts_of_the_stage(recipe):
    module = objective(recipe, token_mask_share=0.25 if RECIPES[recipe].gates_tokens else 0.0)
    model = module.model
    with torch.no_grad():  # an untrained head gates every token; here it gates none, and the drawn mask a quarter
        list(model.motion_head_parameters())[-1].fill_(-20.0)
    head = {name for name, _ in model.named_parameters() if name.startswith("motion_head.")}
    renderer = {name for name, _ in model.named_parameters()} - head
    reached = trained(module)
    recipe = RECIPES[recipe]
    assert bool(reached & head) == recipe.trains_motion
    assert bool(reached & renderer) == recipe.trains_renderer
    if recipe.trains_renderer:
        unreached = renderer - reached
        assert all("noise_token" in name for name in unreached) or not unreached
        assert ("scene_encoder.noise_token" in reached) == recipe.gates_tokens
    if recipe.trains_motion:
        assert head <= reached


@pytest.mark.parametrize(("threshold", "iou"), [(0.2, 1.0), (0.4, 0.0)])
def test_labels_are_compared_with_the_mask_that_the_gate_would_take(threshold, iou):
    module, views = objective("distill"), batch()
    head = CONFIG.model.motion_head.model_copy(update={"threshold": threshold})
    module.model.config = CONFIG.model.model_copy(update={"motion_head": head})
    logits = torch.where(views.motion > 0, 0.3, 0.1).logit()
    figures = module._motion_metrics(views, logits, torch.zeros(()))
    assert figures["label_iou"].item() == iou
    assert figures["mean_probability"].item() == pytest.approx(0.2)
    assert figures["mean_label"].item() == 0.5


def test_gated_pixels_carry_no_photometric_gradient():
    module = objective("unmasked", motion_gate="pseudo")
    views = batch()
    views.truth[:, :, :, :12] = 5.0
    loss, _ = module(views, 0)
    ungated, _ = module(batch(), 0)
    assert loss.item() == pytest.approx(ungated.item(), rel=1e-5)


def test_control_without_gate_learns_from_moving_pixels():
    module = objective("unmasked", motion_gate="none")
    views = batch()
    views.truth[:, :, :, :12] = 5.0
    assert module(views, 0)[0].item() > 2 * module(batch(), 0)[0].item()


def test_predicted_gate_spares_static_samples():
    module = objective("joint", motion_gate="predicted")
    views = batch()
    logits = torch.full((2, 4, 1, 24, 24), 3.0)
    mixed = replace(views, dynamic=torch.tensor([True, False]))
    gate = module._gate(mixed, logits)
    assert gate[0].min() == 1.0
    assert gate[1].max() == 0.0


@pytest.mark.parametrize(("gate", "views"), [("pseudo", 2), ("none", 2), ("predicted", 4)])
def test_a_head_that_gates_tokens_alone_sees_the_inputs_alone(gate, views):
    module = objective("masked", motion_gate=gate)
    seen = []
    module.backbone = lambda images: seen.append(len(images)) or FEATURES(images)
    loss, _ = module(batch(), 3)
    assert loss.isfinite()
    assert seen == [2 * views]


def test_a_batch_is_the_mean_of_its_samples():
    module = objective("joint", token_mask_share=0.0)
    views = batch(2)
    views.supervised[1, 1:] = 0.0
    parts = ({name: None if v is None else v[part : part + 1] for name, v in vars(views).items()} for part in (0, 1))
    halves = [Batch(**part) for part in parts]
    whole = module(views, 0)[0]
    parts = [module(half, 0)[0] for half in halves]
    assert whole.item() == pytest.approx(sum(parts).item() / 2, rel=1e-5)


def test_views_below_the_psnr_filter_do_not_train_the_head():
    module = objective("distill")
    views = batch()
    views.supervised.zero_()
    loss, figures = module(views, 0)
    assert loss.item() == 0.0
    assert figures["supervised_views"] == 0.0


_WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh")


class HostWaits(TorchDispatchMode):
    """Operations that make the host wait for a GPU: values read back, and constants copied from the host."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        name = operation.name()
        by_mask = name.startswith("aten::index") and any(
            index is not None and index.dtype == torch.bool for index in arguments[1]
        )
        if by_mask or name.partition("::")[2].partition(".")[0] in _WAITS:
            self.found.append((name, "".join(traceback.format_stack(limit=8))))
        return operation(*arguments, **(options or {}))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_makes_the_host_wait_for_nothing(recipe):
    module = objective(recipe, crop_pretext=CropPretextConfig(steps=5))
    tokens = draw_token_mask([0], batch=2, views=2, grid=6, share=0.25, clustered=True)
    views = replace(
        batch(),
        token_mask=tokens if module.recipe.gates_tokens else None,
        crop_views=torch.tensor([1, 3]),
        crop_offsets=torch.zeros(2, 2, 2),
    )
    module(views, 3)[0].backward()  # once before: what is made once and kept may wait
    with HostWaits() as waits:
        module(views, 3)[0].backward()
    assert waits.found == []


@pytest.mark.parametrize("recipe", RECIPES)
def test_nothing_that_is_trained_stays_without_a_gradient(recipe):
    """Several processes wait for such parameters in every step."""
    module = objective(recipe)
    loss, _ = module(batch(), 3)
    loss.backward()
    assert [name for name, p in module.model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_features_keep_their_own_arithmetic_under_autocast():
    module, views = objective("distill"), batch()
    expected = FEATURES(views.images.flatten(0, 1)).unflatten(0, (2, 4))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module._features(views), expected)


def test_motion_metrics_by_hand():
    module, views = objective("distill"), batch()
    views.supervised[:] = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    views.motion[1] = 255.0  # not computed: counts for nothing
    logits = torch.full((2, 4, 1, 24, 24), -20.0)
    logits[0, 0, :, :18] = 20.0
    figures = module._motion_metrics(views, logits, torch.tensor(0.0))
    assert {name: round(value.item(), 4) for name, value in figures.items()} == {
        "bce": 0.0,
        "label_iou": round(12 / 18, 4),
        "mean_probability": 0.75,
        "mean_label": 0.5,
        "supervised_views": 0.125,
    }


def convolutional():
    torch.manual_seed(0)
    head = CONFIG.model.motion_head.model_copy(update={"kind": "convolutional", "cross_residual": True})
    return Objective(
        model=WildRayZer(CONFIG.model.model_copy(update={"motion_head": head})), recipe=RECIPES["distill"],
        stage=CONFIG.stage("distill"), perceptual=build_perceptual(CONFIG.perceptual), perceptual_weight=0.1,
        backbone=FEATURES,
    )  # fmt: skip


def test_the_convolutional_head_standardises_by_the_first_samples_however_they_are_divided():
    module, views = convolutional(), batch(4)
    head = module.model.motion_head
    module.standardise_head([views], ALONE)
    entered = []
    head.layers.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    module(views, 0)
    deviation, mean = torch.std_mean(entered[0], dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-3, rtol=0)
    torch.testing.assert_close(deviation, torch.ones_like(deviation), atol=1e-3, rtol=0)

    divided = convolutional()
    halves = [replace(views, **{name: value[part] for name, value in vars(views).items() if torch.is_tensor(value)})
              for part in (slice(0, 1), slice(1, 4))]  # fmt: skip
    divided.standardise_head(halves, ALONE)
    torch.testing.assert_close(divided.model.motion_head.input_std, head.input_std)
    constants = head.input_mean.clone()
    module.standardise_head([batch(2)], ALONE)  # a head that has constants keeps them
    assert torch.equal(head.input_mean, constants)


def test_a_convolutional_head_of_an_earlier_version_loads_with_the_scale_it_had():
    model = convolutional().model
    state = {name: value for name, value in model.state_dict().items() if "motion_head.input_" not in name}
    del state["motion_head.standardised"]
    renewed = convolutional().model
    renewed.load_state_dict(state)
    assert renewed.motion_head.input_mean.abs().max() == 0
    torch.testing.assert_close(renewed.motion_head.input_std[-3:], torch.tensor([0.05, 0.25, 0.15]))
    assert not renewed.motion_head.standardised
