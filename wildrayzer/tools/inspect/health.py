"""Is a cache healthy? A few figures against rules of thumb, so that one look tells."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from wildrayzer.tools.inspect.figures import FrameFigures, mean
from wildrayzer.tools.inspect.files import CacheFiles

Verdict = Literal["fine", "look", "wrong"]
_FULL = 0.8


@dataclass(frozen=True)
class Check:
    """One line of the health table."""

    name: str
    verdict: Verdict
    figure: str
    rule: str
    """What is expected, and what it may mean if it is not so."""


def health(
    files: CacheFiles, figures: FrameFigures, *, still: bool, psnr_difference: float | None = None
) -> list[Check]:
    """Checks of all that is there; bounds are rules of thumb, not results.

    Args:
        files: the cache.
        figures: of all of its frames.
        still: nothing moves in this split, so that masks should be empty.
        psnr_difference: largest |PSNR of what was rendered for the gallery − PSNR in the cache|, dB.
    """
    checks = [_computed(files, figures), _finite(figures), _kept(files, figures), _agreement(figures)]
    if files.patches:
        checks += _still_masks(figures) if still else _moving_masks(figures)
    if files.pixels:
        checks.append(_refinement(figures))
    if np.isfinite(figures.iou).any() and not still:
        checks.append(_truth(figures))
    if psnr_difference is not None:
        verdict = _low(psnr_difference, 0.1, 0.5)
        rule = "Renderings of this gallery against the cache's PSNR: within 0.1 dB, else another renderer made it."
        checks.append(Check("Renderings repeat", verdict, f"largest difference {psnr_difference:.3f} dB", rule))
    return checks


def overall(checks: list[Check]) -> Verdict:
    """The worst verdict."""
    found = {check.verdict for check in checks}
    return "wrong" if "wrong" in found else "look" if "look" in found else "fine"


def sentence(checks: list[Check]) -> str:
    """One line for the top of page and terminal."""
    open_points = [check.name for check in checks if check.verdict != "fine"]
    if not open_points:
        return f"Looks healthy: all {len(checks)} checks are fine."
    start = "Something is wrong" if overall(checks) == "wrong" else "Have a look"
    return f"{start}: {len(checks) - len(open_points)} of {len(checks)} checks are fine, not {', '.join(open_points)}."


def _high(value: float, fine: float, look: float) -> Verdict:
    return "fine" if value >= fine else "look" if value >= look else "wrong"


def _low(value: float, fine: float, look: float) -> Verdict:
    return "fine" if value <= fine else "look" if value <= look else "wrong"


def _computed(files: CacheFiles, figures: FrameFigures) -> Check:
    share = len(figures) / files.maps.num_frames
    figure = f"{len(figures)} of {files.maps.num_frames} ({share:.1%})"
    if files.windows and files.windows.skipped:
        figure += f", {len(files.windows.skipped)} clips skipped"
    rule = "At least 95% of the frames; clips that are too short for a window have none."
    return Check("Frames computed", _high(share, 0.95, 0.5), figure, rule)


def _finite(figures: FrameFigures) -> Check:
    broken = int((~figures.finite).sum())
    rule = "None. NaN or infinity comes from a broken rendering or backbone."
    return Check("Frames with broken maps", "wrong" if broken else "fine", str(broken), rule)


def _kept(files: CacheFiles, figures: FrameFigures) -> Check:
    share = mean(figures.psnr > files.psnr_filter)
    figure = f"{share:.1%} over {files.psnr_filter:g} dB; mean PSNR {mean(figures.psnr):.2f} dB"
    rule = "At least half of the frames; the others do not teach. Few: the renderer is poor, or of another domain."
    return Check("Kept by the PSNR filter", _high(share, 0.5, 0.2), figure, rule)


def _agreement(figures: FrameFigures) -> Check:
    correlation = 1 - float(np.nanmedian(figures.maps)) if np.isfinite(figures.maps).any() else float("nan")
    rule = "At least 0.2 in the median frame. Unrelated maps: one of the two measures something else than motion."
    return Check("Correlation of the maps", _high(correlation, 0.2, 0.0), f"{correlation:.2f}", rule)


def _moving_masks(figures: FrameFigures) -> list[Check]:
    empty, covered, full = _masks(figures)
    verdict: Verdict = "wrong" if covered == 0 else "look" if covered < 0.01 else _low(covered, 0.35, 0.6)
    return [
        Check("Coverage", verdict, f"{covered:.1%} of a frame on average", "1% to 35%; things move, but not most."),
        Check("Empty masks", _low(empty, 0.5, 0.9), f"{empty:.1%}", "At most half of the frames."),
        Check("Nearly full masks", _low(full, 0.01, 0.05), f"{full:.1%}", f"At most 1% of frames over {_FULL:.0%}."),
    ]


def _still_masks(figures: FrameFigures) -> list[Check]:
    empty, covered, full = _masks(figures)
    rule = "At most 5% of a frame: nothing moves in this split, so all that is marked is false."
    return [
        Check("Coverage", _low(covered, 0.05, 0.15), f"{covered:.1%} of a frame on average", rule),
        Check("Empty masks", _high(empty, 0.5, 0.1), f"{empty:.1%}", "At least half of the frames: nothing moves."),
        Check("Nearly full masks", _low(full, 0.0, 0.01), f"{full:.1%}", f"No frame over {_FULL:.0%}."),
    ]


def _masks(figures: FrameFigures) -> tuple[float, float, float]:
    covered = figures.coverage
    return mean(covered == 0), mean(covered), mean(covered > _FULL)


def _refinement(figures: FrameFigures) -> Check:
    found = figures.patch > 0
    lost = mean(figures.pixel[found] == 0) if found.any() else 0.0
    rule = "At most 20% of the patch masks. More: components are too small for refine.min_area, or GrabCut fails."
    return Check("Emptied by refinement", _low(lost, 0.2, 0.5), f"{lost:.1%} of the patch masks", rule)


def _truth(figures: FrameFigures) -> Check:
    moving = np.isfinite(figures.iou)
    iou, everything = mean(figures.iou), mean(figures.true[moving])
    rule = "At least 1.5 times the IoU of marking everything. Meaningless where the true movers stand still."
    verdict = _high(iou, 1.5 * everything, everything)
    return Check("IoU with the truth", verdict, f"{iou:.1%}; marking everything gives {everything:.1%}", rule)
