"""Feature backbones: the dense descriptor, and DINOv3 from a tiny random model."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.models.torchvision_guard import ensure_torchvision
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.backbones.descriptor import Descriptor, orientation_votes, rgb_to_lab


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 3, 24, 36, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    ensure_torchvision()
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny_dinov3")
    config = DINOv3ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_register_tokens=4,
        patch_size=4,
        image_size=32,
        pos_embed_rescale=2.0,
    )
    DINOv3ViTModel(config).save_pretrained(folder)
    return folder


def dinov3(folder, *, patch_size=4, **options):
    config = FeaturesConfig(weights=str(folder), **{"precision": "float32", **options})
    return build_backbone(config, patch_size=patch_size, device="cpu")


def test_lab_is_scikit_images(images):
    found = rgb_to_lab(images)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, rgb2lab(images[0].permute(1, 2, 0).numpy()), atol=5e-2)


def test_a_flat_patch_has_its_colour_no_spread_and_no_gradient():
    image = torch.tensor([0.8, 0.2, 0.4]).view(1, 3, 1, 1).expand(1, 3, 12, 12)
    found = Descriptor(patch_size=6)(image)
    assert found.shape == (1, 2, 2, 15)
    lab = rgb2lab(np.full((1, 1, 3), (0.8, 0.2, 0.4)))[0, 0]
    np.testing.assert_allclose(found[0, 0, 0, :3].numpy(), lab / 25, atol=2e-3)
    assert found[..., 3:].abs().max() < 1e-5


def test_spread_is_the_standard_deviation_inside_the_patch():
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    lab = rgb_to_lab(image)[0, :, :4, 4:] / 25
    expected = 0.15 * lab.flatten(1).numpy().std(axis=1)
    np.testing.assert_allclose(Descriptor(patch_size=4)(image)[0, 0, 1, 3:6].numpy(), expected, rtol=1e-3)


@pytest.mark.parametrize(("along", "bins"), [("columns", {0: 1.0}), ("rows", {4: 0.5, 5: 0.5})])
def test_a_ramp_votes_for_its_own_direction(along, bins):
    ramp = torch.linspace(0, 1, 9).expand(9, 9)
    grey = (ramp if along == "columns" else ramp.T)[None, None]
    votes = orientation_votes(grey)[0, :, 4, 4]
    # Sobel of a ramp with step 1/8: 8 times the step. Vertical gradients, 90°, lie midway between 80° and 100°.
    expected = [bins.get(number, 0.0) for number in range(9)]
    np.testing.assert_allclose(votes.numpy(), expected, atol=1e-5)


def test_opposite_gradients_vote_alike():
    grey = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(orientation_votes(grey), orientation_votes(1 - grey), atol=1e-4, rtol=1e-3)


def test_histogram_looks_at_neighbouring_patches():
    image = torch.zeros(1, 3, 15, 15)
    image[..., 2] = 1
    found = Descriptor(patch_size=3)(image)[0, 2]
    assert found[1, 6:].norm() > 0.2
    assert found[4, 6:].norm() == 0


def test_descriptor_does_not_depend_on_the_batch(images):
    backbone = Descriptor(patch_size=6)
    many = images.repeat(40, 1, 1, 1)
    one_by_one = torch.cat([backbone(image[None]) for image in images])
    assert torch.equal(backbone(many)[:5], one_by_one)
    assert backbone(images[:0]).shape == (0, 4, 6, 15)
    assert backbone.centre
    assert backbone.name == "descriptor"
    assert one_by_one.shape[-1] == backbone.width


def test_black_and_white_images_give_finite_features():
    for value in (0.0, 1.0):
        assert Descriptor(patch_size=4)(torch.full((2, 3, 8, 8), value)).isfinite().all()


def test_images_must_divide_into_patches(images):
    with pytest.raises(ValueError, match=r"24×36 pixels do not divide into patches of model\.patch_size = 5"):
        Descriptor(patch_size=5)(images)


def test_dinov3_is_the_models_patch_tokens(tiny, images):
    from transformers import DINOv3ViTModel

    backbone = dinov3(tiny)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        tokens = DINOv3ViTModel.from_pretrained(tiny).eval()((images - mean) / std).last_hidden_state
    found = backbone(images)
    torch.testing.assert_close(found, tokens[:, 5:].reshape(5, 6, 9, 32), atol=1e-5, rtol=1e-5)
    assert (backbone.width, backbone.name, backbone.centre) == (32, f"dinov3:{tiny}", False)
    assert not found.requires_grad


def test_dinov3_gives_the_same_every_time_and_in_any_batch(tiny, images):
    backbone = dinov3(tiny, batch=2)
    torch.testing.assert_close(backbone(images), dinov3(tiny, batch=32)(images), atol=1e-5, rtol=1e-5)
    assert torch.equal(backbone(images), backbone(images))


def test_dinov3_follows_the_renderers_grid(tiny, images):
    assert dinov3(tiny, patch_size=6)(images).shape == (5, 4, 6, 32)


def test_dinov3_in_bfloat16_comes_out_as_float32(tiny, images):
    half, full = dinov3(tiny, precision="bfloat16")(images), dinov3(tiny)(images)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(half, full, dim=-1).min() > 0.99


def test_digest_follows_weights_and_precision(tiny, tmp_path):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    assert dinov3(other).digest == dinov3(tiny).digest
    assert dinov3(tiny, precision="bfloat16").digest != dinov3(tiny).digest
    from transformers import DINOv3ViTModel

    model = DINOv3ViTModel.from_pretrained(tiny)
    with torch.no_grad():
        model.norm.bias += 1
    model.save_pretrained(other)
    assert dinov3(other).digest != dinov3(tiny).digest


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"features\.weights = .*nowhere.*: no such folder.*backbone: descriptor"):
        dinov3(tmp_path / "nowhere")


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no config\.json"):
        dinov3(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "dinov2"}')
    with pytest.raises(ValueError, match=r"model_type is 'dinov2', not 'dinov3_vit'"):
        dinov3(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "dinov3_vit"}')
    with pytest.raises(ValueError, match=r"has no \*\.safetensors"):
        dinov3(tmp_path)


def test_weights_of_another_width_are_refused(tiny, tmp_path):
    import json
    import shutil

    folder = tmp_path / "wide"
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    with pytest.raises(ValueError, match=r"features\.weights = .*cannot be loaded"):
        dinov3(folder)


def test_an_unreachable_hub_is_named(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_args, **_options):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(
        ValueError, match=r"features\.weights = 'someone/dinov3'.*cannot be downloaded from the hub.*no network"
    ):
        dinov3("someone/dinov3")


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_torchvision_can_be_imported_after_the_guard():
    guard = "from wildrayzer.models.torchvision_guard import ensure_torchvision as guard"
    assert run_python(f"{guard}; guard(); guard(); import torchvision; guard(); print('ok')") == "ok"
