"""DINOv3 as image tokenizer: where its weights come from, and what of it is trained."""

import pytest
import torch

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.models import WildRayZer
from wildrayzer.training.starting_weights import with_tokenizer_weights

VIT = {"width": 24, "hidden_width": 32, "blocks": 2, "heads": 2, "register_tokens": 2, "patch_size": 8}
SMALL = {"image_size": 16, "patch_size": 4, "width": 32, "head_width": 16, "camera_blocks": 1, "scene_blocks": 1}
SMALL |= {"decoder_blocks": 1, "scene_tokens": 3, "init_std": 0.15, "motion_head": None, "image_tokenizer": "dinov3"}


def build(**vit):
    torch.manual_seed(0)
    return WildRayZer(ModelConfig(**SMALL, dinov3=VIT | vit))


@pytest.mark.parametrize("trained", [False, True])
def test_a_trained_tokenizer_gets_gradients_and_a_frozen_one_none(trained):
    model = build(trained=trained)
    frozen = {id(value) for value in model.frozen_parameters()}
    model.train()(torch.rand(1, 3, 3, 16, 16), 2).render.square().sum().backward()
    vit = dict(model.image_tokenizer.projection.vit.named_parameters())
    silent = {name for name, value in vit.items() if value.grad is None}
    assert silent == ({name for name in vit if name.endswith("mask_token")} if trained else set(vit))
    assert {id(vit[name]) for name in silent} == frozen
    assert model.image_tokenizer.projection.projection.weight.grad.abs().sum() > 0


def test_tokens_are_the_normed_patch_tokens_of_the_normalised_image():
    model, images = build(width=32, patch_size=4).eval(), torch.rand(1, 2, 3, 16, 16)
    tokenizer = model.image_tokenizer.projection
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (images[0] - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        expected = tokenizer.vit(pixel_values=normalised).last_hidden_state[:, 3:]
        torch.testing.assert_close(tokenizer(images)[0], expected)
    assert tokenizer.train().vit.training is False


def test_the_weights_of_a_folder_are_the_start_and_others_are_refused(tmp_path):
    build(trained=True).image_tokenizer.projection.vit.save_pretrained(tmp_path / "vit")
    torch.manual_seed(9)
    model = with_tokenizer_weights(WildRayZer(ModelConfig(**SMALL, dinov3=VIT | {"weights": str(tmp_path / "vit")})))
    first = build().image_tokenizer.projection.vit.state_dict()
    assert all(
        torch.equal(value, first[name]) for name, value in model.image_tokenizer.projection.vit.state_dict().items()
    )
    with pytest.raises(ValueError, match=r"model\.dinov3\.weights = None: no folder"):
        with_tokenizer_weights(build())
    with pytest.raises(ValueError, match=r"model\.dinov3 has other sizes than the weights in"):
        with_tokenizer_weights(build(weights=str(tmp_path / "vit"), blocks=1))


def test_a_tokenizer_that_nothing_reads_is_refused():
    with pytest.raises(ValueError, match=r"model\.image_tokenizer: dinov3 is not used by this network"):
        ModelConfig(kind="lvsm", image_tokenizer="dinov3")
