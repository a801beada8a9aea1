"""ViTs of timm give the features that transformers gives with the same weights, and refuse what they cannot load."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.models.torchvision_guard import ensure_torchvision
from wildrayzer.pseudo_masks.backbones.build import build_backbone

MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 4}
NAME = "vit_small_patch16_dinov3.lvd1689m"


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 24, 36, generator=torch.Generator().manual_seed(0))


def saved(folder, architecture, **options):
    """A random ViT of timm in the layout of its repositories on the hub; returns the model."""
    ensure_torchvision()
    import timm

    torch.manual_seed(0)
    model = timm.create_model(architecture, **SMALL, **options)
    timm.models.save_for_hf(model, folder, model_args=SMALL | options, safe_serialization=True)
    return model


def timm_vit(weights, *, patch_size=4, **options):
    config = FeaturesConfig(backbone="timm", weights=str(weights), **{"precision": "float32", **options})
    return build_backbone(config, patch_size=patch_size, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("timm") / "vit_small"
    saved(place, "vit_small_patch16_dinov3")
    return place


def randomised(model):
    """The model with random numbers in all weights that training would change, biases and norms included."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.randn_like(value) * 0.1 + ("norm" in name and name.endswith("weight")))
    return model.eval()


EARLIER = {"attention.attention.query": "attention.q_proj", "attention.attention.key": "attention.k_proj",
           "attention.attention.value": "attention.v_proj", "attention.output.dense": "attention.o_proj"}  # fmt: skip
"""What transformers 4 called the projections of DINOv2."""


def as_timm(state, *, query_bias, rotary):
    """Weights of transformers under timm's names: queries, keys and values in one matrix."""
    for old, new in EARLIER.items():
        state = {key.replace(old, new): value for key, value in state.items()}
    names = {
        "attention.o_proj": "attn.proj", "layer_scale1.lambda1": "gamma_1" if rotary else "ls1.gamma",
        "layer_scale2.lambda1": "gamma_2" if rotary else "ls2.gamma", "mlp.gate_proj": "mlp.fc1_g",
        "mlp.down_proj": "mlp.fc2", "layernorm.": "norm.", "embeddings.register_tokens": "reg_token",
        "embeddings.cls_token": "cls_token", "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.patch_embeddings": "patch_embed.proj", "mlp.up_proj": "mlp.fc1",
    }  # fmt: skip
    if any("gate_proj" in key for key in state):
        names["mlp.up_proj"] = "mlp.fc1_x"
    found = {}
    for key, value in state.items():
        key = key.removeprefix("model.").removeprefix("encoder.").replace("layer.", "blocks.")
        for old, new in names.items():
            key = key.replace(old, new)
        if "mask_token" not in key and "_proj" not in key and "position" not in key:
            found[key] = value
        elif key.endswith("attention.q_proj.weight"):
            there = key.removesuffix("attention.q_proj.weight")
            place = next(
                name for name in state if name.endswith(f"layer.{there.split('.')[1]}.attention.q_proj.weight")
            )
            query, key_, values = (place.replace("q_proj", f"{one}_proj") for one in "qkv")
            found[f"{there}attn.qkv.weight"] = torch.cat([state[one] for one in (query, key_, values)])
            biases = [state.get(one.replace("weight", "bias")) for one in (query, key_, values)]
            if query_bias and rotary:  # keys have no bias
                found |= {f"{there}attn.q_bias": biases[0], f"{there}attn.v_bias": biases[2]}
            elif query_bias:
                found[f"{there}attn.qkv.bias"] = torch.cat(biases)
    return found


def fill(folder, architecture, state, **options):
    saved(folder, architecture, **options)
    assert {key: value.shape for key, value in load_file(folder / "model.safetensors").items()} == {
        key: value.shape for key, value in state.items()
    }
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("architecture", "gated", "biased"),
    [
        ("vit_small_patch16_dinov3", False, False),
        ("vit_small_patch16_dinov3_qkvb", False, True),
        ("vit_7b_patch16_dinov3", True, False),
    ],
)
def test_dinov3_has_the_features_of_transformers(architecture, gated, biased, images, tmp_path):
    ensure_torchvision()
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64 if gated else 128,
        num_register_tokens=4, patch_size=4, image_size=32, use_gated_mlp=gated, query_bias=biased, value_bias=biased,
        hidden_act="silu" if gated else "gelu",
    )  # fmt: skip
    model = randomised(DINOv3ViTModel(config))
    model.save_pretrained(tmp_path / "hf")
    state = as_timm(model.state_dict(), query_bias=biased, rotary=True)
    fill(tmp_path / "timm", architecture, state)
    theirs = FeaturesConfig(weights=str(tmp_path / "hf"), precision="float32")
    expected = build_backbone(theirs, patch_size=4, device="cpu")(images)
    assert expected.std() > 0.1
    found = timm_vit(tmp_path / "timm")(images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    # also on the renderer's grid, where images are resized
    expected = build_backbone(theirs, patch_size=6, device="cpu")(images)
    torch.testing.assert_close(timm_vit(tmp_path / "timm", patch_size=6)(images), expected, atol=1e-4, rtol=0)


def test_dinov2_with_registers_has_the_features_of_transformers_at_another_size(images, tmp_path):
    ensure_torchvision()
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=4, num_register_tokens=4, patch_size=4,
        image_size=20,
    )  # fmt: skip
    model = randomised(Dinov2WithRegistersModel(config))
    positions = model.state_dict()["embeddings.position_embeddings"]
    state = as_timm(model.state_dict(), query_bias=True, rotary=False)
    # timm adds the class token's position to the token
    state |= {"cls_token": state["cls_token"] + positions[:, :1], "pos_embed": positions[:, 1:]}
    fill(tmp_path, "vit_base_patch14_reg4_dinov2", state, img_size=20)
    with torch.no_grad():
        own = model((images - MEAN) / STD).last_hidden_state[:, 5:].unflatten(1, (6, 9))
    torch.testing.assert_close(timm_vit(tmp_path)(images), own, atol=1e-4, rtol=0)


def test_a_file_with_a_name_of_timm_is_taken(folder, images, tmp_path, monkeypatch):
    import timm

    made = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **options: made(name, **options | SMALL))
    shutil.copy(folder / "model.safetensors", tmp_path / f"{NAME}.safetensors")
    found = timm_vit(tmp_path / f"{NAME}.safetensors")(images)
    torch.testing.assert_close(found, timm_vit(folder)(images))


def test_a_name_is_a_repository_of_the_hub(folder, images, tmp_path, monkeypatch):
    import huggingface_hub

    asked = []
    snapshot = shutil.copytree(folder, tmp_path / "3bf4720")
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: asked.append((name, options)) or str(snapshot)
    )
    backbone = timm_vit(NAME, revision="3bf4720")
    assert asked == [
        (f"timm/{NAME}", {"revision": "3bf4720", "allow_patterns": ["*.json", "*.safetensors", "LICENSE*"]})
    ]
    assert (backbone.name, backbone.revision, backbone.width) == (f"timm:{NAME}", "3bf4720", 32)
    assert backbone.digest != timm_vit(folder).digest


def test_bfloat16_keeps_the_rotary_positions_exact(folder, images):
    half, full = timm_vit(folder, precision="bfloat16"), timm_vit(folder)
    assert half(images).dtype == torch.float32
    assert functional.cosine_similarity(half(images), full(images), dim=-1).min() > 0.99
    assert half._model.rope.periods.dtype == torch.float32
    assert half.digest != full.digest


def test_names_of_the_documents_are_in_timms_registry():
    ensure_torchvision()
    import timm

    names = set(timm.list_pretrained("vit_*_dinov[23]*"))
    assert {NAME, "vit_base_patch14_reg4_dinov2.lvd142m", "vit_7b_patch16_dinov3.lvd1689m"} <= names
    configs = [FeaturesConfig(backbone="timm", weights=name) for name in names]
    assert {config.repository for config in configs} == {f"timm/{name}" for name in names}
    assert all(timm.models.get_pretrained_cfg(name).hf_hub_id == f"timm/{name}" for name in names)


@pytest.mark.parametrize("weights", ["weights/vit_small.safetensors", f"{NAME}.safetensors", "/data/vit", "vit_small"])
def test_other_weights_are_paths(weights):
    config = FeaturesConfig(backbone="timm", weights=weights)
    assert (config.repository, config.path) == (None, weights)


def change(folder, target, **entries):
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | entries))
    return target


def test_other_architectures_and_files_are_refused(folder, tmp_path):
    other = change(folder, tmp_path / "other", architecture="convnext_tiny")
    with pytest.raises(ValueError, match=r"its architecture is 'convnext_tiny', which is no DINOv3 or DINOv2 ViT"):
        timm_vit(other)
    wide = change(folder, tmp_path / "wide", model_args=SMALL | {"embed_dim": 64})
    with pytest.raises(
        ValueError, match=r"does not hold the weights of timm's vit_small_patch16_dinov3 .*size mismatch"
    ):
        timm_vit(wide)
    unknown = change(folder, tmp_path / "unknown", architecture="vit_immense_patch16_dinov3")
    with pytest.raises(ValueError, match=r"vit_immense_patch16_dinov3 .*or update timm"):
        timm_vit(unknown)
    (wide / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(ValueError, match=r"does not hold the weights"):
        timm_vit(wide)
    (wide / "model.safetensors").rename(wide / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"only pytorch_model\.bin, pickles that are not opened"):
        timm_vit(wide)
    with pytest.raises(ValueError, match=r"has no config\.json; name a name of timm such as"):
        timm_vit(tmp_path)
    with pytest.raises(ValueError, match=r"no such folder; name a name of timm such as"):
        timm_vit(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"model_type is None, not 'dinov3_vit'; set features\.backbone: timm"):
        build_backbone(FeaturesConfig(weights=str(folder)), patch_size=4, device="cpu")
