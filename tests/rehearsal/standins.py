"""Stand-ins for the data and weights of the full-size runs, in the layouts and archives in which they are published.

Frames are rendered by the embedded data set at 360 pixels; weights are random, in the shapes of the published files.
ViT-S/16 stands for DINOv3's model of 7B parameters.
"""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from wildrayzer.config.sections.data import EmbeddedConfig, EmbeddedSplit
from wildrayzer.data.embedded.cutouts import write_cutouts
from wildrayzer.data.embedded.write import MANIFEST, write_split
from wildrayzer.io.shipped import SOURCES

SIZE = 360
"""Pixels along a side of the stand-in frames, as high as those of RE10K's chunks."""
DL3DV, RE10K, DYNAMIC = (EmbeddedConfig(frames=frames, supersampling=1, cutouts=8) for frames in (72, 48, 24))
"""Clips must hold published windows, and samples whose ends are 24 to 40 frames apart, in D-RE10K 8 to 12."""
CLIPS = {
    "train": (RE10K, EmbeddedSplit(scenes=2, layout="pixelsplat")),
    "test": (RE10K, EmbeddedSplit(scenes=2, layout="pixelsplat")),
    "dl3dv": (DL3DV, EmbeddedSplit(scenes=2)),
    "dynamic_train": (DYNAMIC, EmbeddedSplit(scenes=2, movers="actors")),
    "dynamic_test": (DYNAMIC, EmbeddedSplit(scenes=2, movers="actors", truth="masks")),
    "pairs": (DYNAMIC, EmbeddedSplit(scenes=2, movers="actors", truth="masks_and_clean")),
}
"""Stand-in clips by the name of their folder."""
VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Width and number of the convolutions of each block."""


def make(folder: Path) -> None:
    """Write clips, weights and the archives of both into a folder; what is there already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in writers(folder).items():
        if not (folder / name).exists():
            temporary = folder / f"{name}.part"
            write(temporary)
            temporary.rename(folder / name)


def table(address: str) -> str:
    """The repository's table of sources as YAML, with every download replaced by its stand-in at this address."""
    document = yaml.safe_load(SOURCES.read_text(encoding="utf-8"))
    for source, files in DOWNLOADS.items():
        entry = document["sources"][source]
        for way in ("hub", "files", "provide", "accept", "gated", "size_gb"):
            entry.pop(way, None)
        entry["files"] = [
            {"name": name, "mirrors": [f"{address}/{name}"], "archive": name.endswith(".zip")} for name in files
        ]
        for part in entry["parts"].values():
            part.pop("scenes", None)
            part.pop("frames", None)
    return yaml.safe_dump(document, sort_keys=False)


DOWNLOADS = {
    "re10k": ["re10k.zip"],
    "dl3dv": ["dl3dv.zip"],
    "dl3dv_benchmark": ["dl3dv_benchmark.zip"],
    "dre10k": ["dre10k.zip"],
    "dre10k_iphone": ["dre10k_iphone.zip"],
    "coco": ["annotations_trainval2014.zip", "train2014.zip"],
    "index_re10k": ["evaluation_index_re10k.json"],
    "index_dre10k": ["dre10k_final_context_2_view_idx.json"],
    "index_dl3dv": ["rayzer_evaluation_index_dl3dv_even.json", "rayzer_evaluation_index_dl3dv_random.json"],
    "dinov3_vits16": ["dinov3-vits16-pretrain-lvd1689m.zip"],
    "vgg19": ["imagenet-vgg-verydeep-19.mat"],
    "vgg16": ["vgg16-397923af.pth"],
}
"""Sources of the full-size configurations and the files that stand for them."""


def writers(folder: Path) -> dict[str, Callable[[Path], None]]:
    """What writes each file, given its path."""
    clips, backbone, cutouts = folder / "clips", folder / "dinov3-vits16-pretrain-lvd1689m", folder / "coco"

    def packed(parts: Mapping[str, Path]) -> Callable[[Path], None]:
        return lambda path: _pack(path, parts)

    def windows(split: str, inputs: Iterable[int], targets: Iterable[int]) -> Callable[[Path], None]:
        window = {"context": list(inputs), "target": list(targets)}
        return lambda path: _write_json(path, {f"{split}_00000": window})

    return {
        "clips": _write_clips,
        "coco": lambda path: write_cutouts(DYNAMIC, path),
        "dinov3-vits16-pretrain-lvd1689m": _write_backbone,
        "re10k.zip": packed({"re10k/train": clips / "train", "re10k/test": clips / "test"}),
        "dl3dv.zip": lambda path: _pack_dl3dv(path, clips / "train"),
        "dl3dv_benchmark.zip": packed({"dl3dv_benchmark": clips / "dl3dv"}),
        "dre10k.zip": packed({"train": clips / "dynamic_train", "test": clips / "dynamic_test"}),
        "dre10k_iphone.zip": packed({"test": clips / "pairs"}),
        "annotations_trainval2014.zip": packed({"annotations": cutouts / "annotations"}),
        "train2014.zip": packed({"train2014": cutouts / "train2014"}),
        "dinov3-vits16-pretrain-lvd1689m.zip": packed({".": backbone}),
        "imagenet-vgg-verydeep-19.mat": _write_vgg19,
        "vgg16-397923af.pth": _write_vgg16,
        "evaluation_index_re10k.json": windows("test", (0, 40), (10, 30)),
        "dre10k_final_context_2_view_idx.json": windows("dynamic_test", (0, 19), (6, 13)),
        "rayzer_evaluation_index_dl3dv_even.json": windows("dl3dv", range(0, 64, 4), (17, 41)),
        "rayzer_evaluation_index_dl3dv_random.json": windows("dl3dv", range(0, 48, 3), (13, 31)),
    }


def _write_clips(folder: Path) -> None:
    """All clips, each split in a folder of its own."""
    for name, (config, split) in CLIPS.items():
        if not (folder / name).exists():
            write_split(config.model_copy(update={"splits": {name: split}}), name, folder / name, image_size=SIZE,
                        threads=2)  # fmt: skip


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")


def _pack(path: Path, parts: Mapping[str, Path]) -> None:
    """A zip file with folders under other names."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, source in parts.items():
            for file in sorted(source.rglob("*")):
                if file.is_file() and file.name != MANIFEST:
                    archive.write(file, Path(name) / file.relative_to(source))


def _pack_dl3dv(path: Path, chunks: Path) -> None:
    """The same clips under the names of DL3DV's nine training folders, which hold different scenes."""
    scenes = torch.load(chunks / "000000.torch", weights_only=True)
    folder = path.with_suffix(".folders")
    parts = {f"{number}K": folder / f"{number}K" for number in range(1, 10)}
    for name, part in parts.items():
        part.mkdir(parents=True)
        renamed = [{**scene, "key": f"{name}_{scene['key']}"} for scene in scenes[:1]]
        torch.save(renamed, part / "000000.torch")
        _write_json(part / "index.json", {scene["key"]: "000000.torch" for scene in renamed})
    _pack(path, parts)
    shutil.rmtree(folder)


def _write_backbone(folder: Path) -> None:
    """DINOv3 ViT-S/16 with random weights, as a folder of the hub; sizes are those of its published config.json."""
    from wildrayzer.models.torchvision_guard import ensure_torchvision

    ensure_torchvision()
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, num_register_tokens=4,
        patch_size=16, image_size=224, pos_embed_rescale=2.0,
    )  # fmt: skip
    DINOv3ViTModel(config).save_pretrained(folder)


def convolutions(blocks: Iterable[tuple[int, int]]) -> Iterable[tuple[str, np.ndarray, np.ndarray]]:
    """Name, kernel `[3 3 in out]` and bias of each convolution, drawn so that activations keep their scale."""
    rng, width = np.random.default_rng(0), 3
    for block, (out, count) in enumerate(blocks, start=1):
        for index in range(1, count + 1):
            kernel = rng.normal(size=(3, 3, width, out), scale=np.sqrt(2 / (9 * width))).astype(np.float32)
            yield f"conv{block}_{index}", kernel, np.zeros(out, np.float32)
            width = out


def _write_vgg19(path: Path) -> None:
    """VGG-19's convolutions in MatConvNet's file layout."""
    from scipy.io import savemat

    layers = []
    for name, kernel, bias in convolutions(VGG19):
        weights = np.empty((1, 2), dtype=object)
        weights[0, 0], weights[0, 1] = kernel, bias[None]
        layers.append({"name": name, "type": "conv", "weights": weights})
    row = np.empty((1, len(layers)), dtype=object)
    row[0, :] = layers
    savemat(path, {"layers": row}, appendmat=False)


def _write_vgg16(path: Path) -> None:
    """VGG-16's convolutions under torchvision's names."""
    state = {}
    position = 0
    for name, kernel, bias in convolutions(VGG16):
        if name.endswith("_1") and position:
            position += 1  # pooling
        state[f"features.{position}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        state[f"features.{position}.bias"] = torch.from_numpy(bias)
        position += 2  # a convolution and its ReLU
    torch.save(state, path)
