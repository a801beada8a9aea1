"""The memory formula against what autograd saves."""

import pytest
import torch

from wildrayzer.config import ModelConfig
from wildrayzer.models import WildRayZer
from wildrayzer.models.flops import Workload
from wildrayzer.models.memory import activation_bytes, block_bytes, checkpoint_every_within
from wildrayzer.models.transformer import Block

CONFIG = ModelConfig(
    image_size=24, patch_size=3, width=96, head_width=24, camera_blocks=4, scene_blocks=4, decoder_blocks=4,
    scene_tokens=40, motion_head=None,
)  # fmt: skip
WORK = Workload(batch=1, inputs=2, targets=2)


def saved_bytes(function, parameters, *, width=None):
    """Bytes of the distinct storages that autograd saves, without parameters and their copies in bfloat16."""
    seen, skipped = {}, {parameter.untyped_storage().data_ptr() for parameter in parameters}

    def pack(tensor):
        storage = tensor.untyped_storage()
        copied = width is not None and tensor.ndim <= 2 and tensor.shape[0] in (width, width // 3, 4 * width)
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
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        measured = saved_bytes(lambda: block(x, queries), list(block.parameters()), width=48)
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
