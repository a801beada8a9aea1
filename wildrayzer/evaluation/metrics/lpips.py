"""Masked LPIPS in both definitions, from a local VGG-16 file (paper, supplement B.2, Eq. 7).

The linear heads (version 0.1) are those of the package `lpips`, copied with their licence into `lpips_heads/`. The
backbone must be given, nothing is downloaded.
"""

import pickle
import re
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from wildrayzer.evaluation.metrics.image import region_mean

DEFINITIONS = {
    "lpips": "paper's Eq. 7: per level, region area-pooled to that level; Σ over levels (VGG, v0.1)",
    "lpips_released": "release: levels enlarged to the image, and the first one counted twice (VGG, v0.1)",
}
NO_WEIGHTS = "left out: no VGG-16 weights given (benchmark.lpips_weights, --lpips-weights)"

# layers of torchvision's vgg16().features: width of a convolution by its index; a pool opens each later level
CONVOLUTIONS = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 17: 512, 19: 512, 21: 512,
                24: 512, 26: 512, 28: 512}  # fmt: skip
POOL_BEFORE = (5, 10, 17, 24)
LEVEL_ENDS = (2, 7, 14, 21, 28)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class MaskedLPIPS(nn.Module):
    """LPIPS (VGG-16, v0.1) over a region of each image."""

    def __init__(self, backbone: dict[str, Tensor], heads: dict[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in {**backbone, **heads}.items():
            self.register_buffer(name, tensor)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    @torch.no_grad()
    def forward(
        self,
        prediction: Float[Tensor, "n 3 h w"],
        truth: Float[Tensor, "n 3 h w"],
        regions: dict[str, Float[Tensor, "n 1 h w"]],
    ) -> dict[str, dict[str, Float[Tensor, " n"]]]:
        """`{region: {"lpips", "lpips_released"}}` for images in [0, 1]; region 1 = counted, NaN where it is empty.

        Raises:
            ValueError: a side is below 16 pixels, where the last level vanishes.
        """
        if min(prediction.shape[-2:]) < 16:
            raise ValueError(
                f"images of {prediction.shape[-2]}×{prediction.shape[-1]} pixels are too small for LPIPS, which needs "
                "sides of 16; leave the weights out"
            )
        levels = self._differences(prediction, truth)
        size = prediction.shape[-2:]
        enlarged = [functional.interpolate(d, size=size, mode="bilinear", align_corners=False) for d in levels]
        total = torch.stack(enlarged).sum(0)
        return {
            name: {
                "lpips": torch.stack([region_mean(difference, region) for difference in levels]).sum(0),
                "lpips_released": region_mean(total, region) + region_mean(enlarged[0], region),
            }
            for name, region in regions.items()
        }

    def _differences(self, prediction: Tensor, truth: Tensor) -> list[Tensor]:
        """Weighted squared difference of unit feature vectors at the five levels, each `[n 1 h_l w_l]`."""
        images = torch.cat([prediction, truth]).float() * 2.0 - 1.0
        x = (images - self.get_buffer("shift")) / self.get_buffer("scale")
        levels: list[Tensor] = []
        for index in CONVOLUTIONS:
            if index in POOL_BEFORE:
                x = functional.max_pool2d(x, 2)
            weight, bias = self.get_buffer(f"weight{index}"), self.get_buffer(f"bias{index}")
            x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
            if index in LEVEL_ENDS:
                # At the end of a level: unit feature vectors, their squared difference, weighted by the level's head.
                unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
                ours, true = unit.chunk(2)
                levels.append(functional.conv2d((ours - true).square(), self.get_buffer(f"head{len(levels)}")))
        return levels


def load_lpips(path: str | Path, device: torch.device | str = "cpu") -> MaskedLPIPS:
    """Build LPIPS from a file with VGG-16's convolutions, e.g. torchvision's `vgg16-397923af.pth`.

    Keys may be `features.N.weight` (torchvision), `[net.]sliceK.N.weight` (lpips) or `N.weight`; anything that is no
    convolution of VGG-16 (the classifier) is ignored. Only tensors are read from the file.

    Raises:
        ValueError: missing or unreadable file, missing or misshapen convolutions; names the file.
    """
    path = Path(path)
    fix = "give torchvision's VGG-16 weights (vgg16-397923af.pth) or leave the option out"
    if not path.is_file():
        raise ValueError(f"LPIPS weights {str(path)!r}: no such file; {fix}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"LPIPS weights {str(path)!r}: not a state dict of tensors ({error}); {fix}") from None
    backbone = _backbone(state, path) if isinstance(state, dict) else {}
    missing = [f"features.{i}" for i in CONVOLUTIONS if not {f"weight{i}", f"bias{i}"} <= backbone.keys()]
    if missing:
        raise ValueError(f"LPIPS weights {str(path)!r}: VGG-16 layers {missing} are missing; {fix}")
    return MaskedLPIPS(backbone, _packaged_heads()).to(device).eval()


def _backbone(state: dict[str, object], path: Path) -> dict[str, Tensor]:
    """The convolutions of a state dict as `weightN` and `biasN`, shapes checked."""
    pattern = re.compile(r"(?:module\.)?(?:net\.)?(?:features\.|slice\d\.)?(\d+)\.(weight|bias)")
    inputs = dict(zip(CONVOLUTIONS, (3, *CONVOLUTIONS.values()), strict=False))
    backbone: dict[str, Tensor] = {}
    for key, tensor in state.items():
        match = pattern.fullmatch(str(key))
        if match is None or int(match[1]) not in CONVOLUTIONS or not isinstance(tensor, Tensor):
            continue
        index, kind = int(match[1]), match[2]
        width = CONVOLUTIONS[index]
        expected = (width, inputs[index], 3, 3) if kind == "weight" else (width,)
        if tuple(tensor.shape) != expected:
            raise ValueError(
                f"LPIPS weights {str(path)!r}: {key} has shape {tuple(tensor.shape)}, VGG-16 has {expected}; "
                "give torchvision's VGG-16 weights"
            )
        backbone[f"{kind}{index}"] = tensor.float()
    return backbone


def _packaged_heads() -> dict[str, Tensor]:
    """The linear heads of the five levels, by the names of `MaskedLPIPS`."""
    heads = Path(__file__).with_name("lpips_heads") / "vgg.pth"
    state = torch.load(heads, map_location="cpu", weights_only=True)
    return {f"head{level}": state[f"lin{level}.model.1.weight"] for level in range(len(LEVEL_ENDS))}
