"""Metrics published in the papers, shown beside ours where the set is the published one."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published metric."""

    data: str
    """Set, as in `SETS`."""
    inputs: int | None
    """Input views; None for masks, which are shown beside every number."""
    region: str
    """Region, as in the scores (`mask` for masks)."""
    metric: str
    """Metric, as in the scores; masks as a share of 1, not percent."""
    method: str
    """Row of the paper."""
    value: float
    """The published value."""
    paper: str
    """Where it is published."""
    withdrawn: bool = False
    """Whether its authors have struck it through since."""


SETS = {
    "dre10kiphone": "D-RE10K-iPhone",
    "iphone": "D-RE10K-iPhone",
    "dre10k": "D-RE10K",
    "re10k": "RE10K",
    "dl3dv": "DL3DV",
}
"""Published sets by the start of a split's name, only letters and digits."""

_PAPER = "WildRayZer"
_OPEN, _OPEN_FIRST = "Open-RayZer, January 2026", "Open-RayZer, September 2025"
_LVSM = "LVSM"


def _rows(
    data: str, inputs: int | None, method: str, paper: str, *, withdrawn: bool = False, **values: float
) -> list[Published]:
    region = "mask" if "iou" in values else "static" if data == "D-RE10K" else "full"
    return [
        Published(data, inputs, region, metric, method, value, paper, withdrawn) for metric, value in values.items()
    ]


PUBLISHED: tuple[Published, ...] = (
    *_rows("D-RE10K", 2, "WildRayZer", _PAPER, psnr=21.78),
    *_rows("D-RE10K", 2, "RayZer + SAV", _PAPER, psnr=19.01),
    *_rows("D-RE10K", 4, "WildRayZer", _PAPER, psnr=22.38),
    *_rows("D-RE10K", 4, "RayZer + SAV", _PAPER, psnr=20.73),
    *_rows("D-RE10K-iPhone", 2, "WildRayZer", _PAPER, psnr=20.89, lpips_released=0.364),
    *_rows("D-RE10K-iPhone", 2, "RayZer + SAV", _PAPER, psnr=19.57, lpips_released=0.428),
    *_rows("D-RE10K", None, "copy-paste only", _PAPER, iou=0.182),
    *_rows("D-RE10K", None, "pseudo-mask only", _PAPER, iou=0.539),
    *_rows("D-RE10K", None, "both", _PAPER, iou=0.539),
    *_rows("D-RE10K-iPhone", None, "copy-paste only", _PAPER, iou=0.111),
    *_rows("D-RE10K-iPhone", None, "pseudo-mask only", _PAPER, iou=0.453),
    *_rows("D-RE10K-iPhone", None, "both", _PAPER, iou=0.497),
    *_rows("DL3DV", 16, "RayZer, even", "RayZer", psnr=25.59, ssim=0.795, lpips=0.183),
    *_rows("DL3DV", 16, "RayZer, random", "RayZer", psnr=25.47, ssim=0.795, lpips=0.181),
    *_rows("RE10K", 2, "LVSM, decoder-only", _LVSM, psnr=29.67, ssim=0.906, lpips=0.098),
    *_rows("RE10K", 2, "LVSM, encoder-decoder", _LVSM, psnr=28.60, ssim=0.893, lpips=0.114),
    *_rows("RE10K", 2, "Efficient-LVSM", "Efficient-LVSM", psnr=29.86),
    *_rows("RE10K", 5, "LVSM, reproduced", _OPEN_FIRST, withdrawn=True, psnr=25.80, ssim=0.822, lpips=0.182),
    *_rows("RE10K", 5, "LVSM, paper", _OPEN, psnr=25.88, ssim=0.828, lpips=0.175),
    *_rows("RE10K", 5, "RayZer, reproduced", _OPEN_FIRST, withdrawn=True, psnr=24.30, ssim=0.768, lpips=0.212),
    *_rows("RE10K", 5, "RayZer, paper", _OPEN, psnr=26.32, ssim=0.835, lpips=0.164),
    *_rows("DL3DV", 16, "LVSM, reproduced", _OPEN, psnr=24.00, ssim=0.727, lpips=0.252),
    *_rows("DL3DV", 16, "LVSM, reproduced", _OPEN_FIRST, withdrawn=True, psnr=23.12, ssim=0.684, lpips=0.282),
    *_rows("DL3DV", 16, "LVSM, paper", _OPEN, psnr=23.10, ssim=0.703, lpips=0.257),
    *_rows("DL3DV", 16, "RayZer, reproduced", _OPEN, psnr=22.14, ssim=0.630, lpips=0.289),
    *_rows("DL3DV", 16, "RayZer, reproduced", _OPEN_FIRST, withdrawn=True, psnr=20.84, ssim=0.562, lpips=0.354),
    *_rows("DL3DV", 16, "RayZer, paper", _OPEN, psnr=23.72, ssim=0.733, lpips=0.222),
)
"""LPIPS of WildRayZer is listed as `lpips_released`: those values were presumably made with the release's code. What
Open-RayZer lists, its own values and those of the papers, is for 5 inputs and 5 targets on RE10K and of 16 and 8 on
DL3DV, as its configuration files say. It struck its first values through in October 2025 and has printed corrected ones
for DL3DV since. LVSM's are for the frozen index of RE10K with 2 inputs and 3 targets."""


def published_for(split: str, *, inputs: int | None = None, masks: bool = False) -> list[Published]:
    """Published metrics of the set that a split's name starts with (e.g. `dre10k_test`), or none.

    Args:
        split: name of a split; callers leave out splits of the embedded set.
        inputs: input views; values for another number are left out.
        masks: metrics of masks instead of renderings.
    """
    plain = re.sub(r"[^a-z0-9]", "", split.lower())
    data = next((name for start, name in SETS.items() if plain.startswith(start)), None)
    return [
        one
        for one in PUBLISHED
        if one.data == data and (one.region == "mask") == masks and (masks or one.inputs == inputs)
    ]
