"""The memory formula against what autograd saves."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from wildrayzer.config import ModelConfig
from wildrayzer.config.sections.model import MotionHeadConfig
from wildrayzer.models import WildRayZer
from wildrayzer.models.cost.flops import Workload
from wildrayzer.models.cost.memory import activation_bytes, block_bytes, checkpoint_every_within, head_bytes
from wildrayzer.models.motion_head import build_motion_head
from wildrayzer.models.transformer import Block

CONFIG = ModelConfig(
    image_size=24, patch_size=3, width=96, head_width=24, camera_blocks=4, scene_blocks=4, decoder_blocks=4,
    scene_tokens=40, motion_head=None,
)  # fmt: skip
WORK = Workload(batch=1, inputs=2, targets=2)


def saved_bytes(function, parameters, *, copies=frozenset()):
    """Bytes of the distinct storages that autograd saves, without parameters and their copies (by shape)."""
    seen, skipped = {}, {parameter.untyped_storage().data_ptr() for parameter in parameters}

    def pack(tensor):
        storage = tensor.untyped_storage()
        copied = {tensor.shape, tensor.shape[::-1]} & copies
        if storage.data_ptr() not in skipped and not copied:
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(size for size, _ in seen.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("queries", [None, 7])
def test_a_block_keeps_what_the_formula_says(precision, queries):
    block, x = Block(48, 16, kernel="sdpa"), torch.randn(3, 90, 48, requires_grad=True)
    # with queries the fused projection is two
    copies = {parameter.shape for parameter in block.parameters()} | {(96, 48)}
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        measured = saved_bytes(lambda: block(x, queries), list(block.parameters()), copies=copies)
    formula = block_bytes(width=48, head_width=16, rows=3, tokens=90, queries=queries, precision=precision)
    assert measured == pytest.approx(formula, rel=0.02)


@pytest.mark.parametrize("every", [1, 2])
def test_checkpointing_frees_what_the_formula_says(every):
    images = torch.rand(1, 4, 3, 24, 24)
    measured = {}
    for policy in (0, every):
        model = WildRayZer(CONFIG.model_copy(update={"checkpoint_every": policy}))
        measured[policy] = saved_bytes(lambda model=model: model(images, 2), list(model.parameters()))
    # what is recomputed is held one block at a time and not saved by the forward pass
    working = max(
        block_bytes(width=96, head_width=24, rows=rows, tokens=tokens)
        for rows, tokens in ((1, 4 * 65), (1, 40 + 128), (2, 64 + 40))
    )
    formula = activation_bytes(CONFIG, WORK) - activation_bytes(CONFIG, WORK, checkpoint_every=every) + working
    assert measured[0] - measured[every] == pytest.approx(formula, rel=0.03)
    assert measured[0] > activation_bytes(CONFIG, WORK), "tokenizers and heads come on top"


def in_float32(norm):
    """A norm under autocast as on a GPU, which runs it in float32; on a CPU it takes what it is given."""

    def run(x, *options, **named):
        with torch.autocast("cpu", enabled=False):
            return norm(x.float(), *options, **named)

    return run


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("options", [{"patch_size": 6, "feature_width": 52}, {"patch_size": 8, "use_features": False},
                                     {"patch_size": 8, "feature_width": 52, "use_tokens": False},
                                     {"patch_size": 8, "feature_width": 52, "kind": "convolutional"}])  # fmt: skip
def test_the_motion_head_keeps_what_the_formula_says(monkeypatch, precision, options):
    for name in ("group_norm", "layer_norm"):
        monkeypatch.setattr(functional, name, in_float32(getattr(functional, name)))
    config = ModelConfig(
        image_size=48, patch_size=options["patch_size"], width=96, head_width=24,
        motion_head=MotionHeadConfig(blocks=1, **{k: v for k, v in options.items() if k != "patch_size"}),
    )  # fmt: skip
    head, patches = build_motion_head(config, config.motion_head), config.grid**2
    tokens, rays = torch.randn(2, 1, 3, patches, 96).unbind()
    features = torch.randn(1, 3, config.grid, config.grid, 52) if config.motion_head.use_features else None
    copies = {parameter.shape for parameter in head.parameters()}
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        measured = saved_bytes(lambda: head(features, tokens, rays), list(head.parameters()), copies=copies)
    blocks = 0
    if config.motion_head.kind == "transformer":
        blocks = block_bytes(width=96, head_width=24, rows=3, tokens=patches, precision=precision)
    assert measured - blocks == pytest.approx(head_bytes(config, views=3, precision=precision), rel=0.02)


def test_distilling_at_the_papers_sizes_counts_the_mask_decoder():
    config = ModelConfig()
    work = Workload(batch=8, inputs=4, targets=4, motion=True, renders=False, trains_renderer=False, trains_motion=True)
    kept = block_bytes(width=768, head_width=64, rows=64, tokens=256)
    assert activation_bytes(config, work) == 4 * kept + head_bytes(config, views=64)
    # GELU and convolution inputs of the four doublings alone: 5 × 4 bytes a channel that enters, at 32² to 256² pixels
    doublings = sum(20 * side**2 * channels for side, channels in ((32, 384), (64, 192), (128, 96), (256, 48)))
    assert 64 * doublings < head_bytes(config, views=64) < 1.6 * 64 * doublings
    frozen = dataclasses.replace(work, trains_motion=False, trains_renderer=True, renders=True)
    assert activation_bytes(config, frozen) == activation_bytes(
        config.model_copy(update={"motion_head": None}), dataclasses.replace(frozen, motion=False)
    )


def test_the_policy_recomputes_no_more_than_the_budget_asks():
    needs = {every: activation_bytes(CONFIG, WORK, checkpoint_every=every) for every in (0, 1, 2, 3, 4)}
    assert needs[0] > needs[4] > needs[2] > needs[1]
    for every, need in needs.items():
        chosen = checkpoint_every_within(CONFIG, WORK, budget=float(need))
        assert needs[chosen] <= need
        assert chosen == 0 or chosen >= every
    assert checkpoint_every_within(CONFIG, WORK, budget=float(needs[0])) == 0
    assert checkpoint_every_within(CONFIG, WORK, budget=float(needs[1])) == 1
    with pytest.raises(ValueError, match=r"compute.activation_gb = 0.001: a micro-batch of 1 samples of 4 views needs"):
        checkpoint_every_within(CONFIG, WORK, budget=1e6)
