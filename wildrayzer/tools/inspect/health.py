"""Health of a cache: a few statistics against rules of thumb."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from wildrayzer.tools.inspect.files import CacheFiles
from wildrayzer.tools.inspect.frame_statistics import FrameStatistics, mean

Verdict = Literal["fine", "look", "wrong"]
_FULL = 0.8


@dataclass(frozen=True)
class Check:
    """One line of the health table."""

    name: str
    verdict: Verdict
    value: str
    rule: str
    """What is expected, and what another value may mean."""


def health(
    files: CacheFiles, statistics: FrameStatistics, *, still: bool, psnr_difference: float | None = None
) -> list[Check]:
    """Checks of everything that the cache has; bounds are rules of thumb, not results.

    Args:
        files: the cache.
        statistics: of all of its frames.
        still: nothing moves in this split, so that masks should be empty.
        psnr_difference: largest difference in dB between the PSNR of the gallery's renderings and that in the cache.
    """
    checks = [_computed(files, statistics), _finite(statistics), _kept(files, statistics), _agreement(statistics)]
    if files.patches:
        checks += _still_masks(statistics) if still else _moving_masks(statistics)
    if files.pixels:
        checks.append(_refinement(statistics))
    if np.isfinite(statistics.iou).any() and not still:
        checks.append(_truth(statistics))
    if psnr_difference is not None:
        verdict = _low(psnr_difference, 0.1, 0.5)
        rule = (
            "PSNR of this gallery's renderings against the cache: within 0.1 dB, else another renderer made the cache."
        )
        checks.append(Check("Renderings repeat", verdict, f"largest difference {psnr_difference:.3f} dB", rule))
    return checks


def overall(checks: list[Check]) -> Verdict:
    """The worst verdict."""
    verdicts = {check.verdict for check in checks}
    return "wrong" if "wrong" in verdicts else "look" if "look" in verdicts else "fine"


def sentence(checks: list[Check]) -> str:
    """Summary of the checks in one line."""
    open_points = [check.name for check in checks if check.verdict != "fine"]
    if not open_points:
        return f"Looks healthy: all {len(checks)} checks are fine."
    start = "Something is wrong" if overall(checks) == "wrong" else "Have a look"
    return f"{start}: {len(checks) - len(open_points)} of {len(checks)} checks are fine, not {', '.join(open_points)}."


def _high(value: float, fine: float, look: float) -> Verdict:
    return "fine" if value >= fine else "look" if value >= look else "wrong"


def _low(value: float, fine: float, look: float) -> Verdict:
    return "fine" if value <= fine else "look" if value <= look else "wrong"


def _computed(files: CacheFiles, statistics: FrameStatistics) -> Check:
    share = len(statistics) / files.maps.num_frames
    value = f"{len(statistics)} of {files.maps.num_frames} ({share:.1%})"
    if files.windows and files.windows.skipped:
        value += f", {len(files.windows.skipped)} clips skipped"
    rule = "At least 95% of the frames; clips that are too short for a window have none."
    return Check("Frames computed", _high(share, 0.95, 0.5), value, rule)


def _finite(statistics: FrameStatistics) -> Check:
    broken = int((~statistics.finite).sum())
    rule = "None. NaN or infinity comes from a damaged renderer or backbone."
    return Check("Frames with broken maps", "wrong" if broken else "fine", str(broken), rule)


def _kept(files: CacheFiles, statistics: FrameStatistics) -> Check:
    share = mean(statistics.psnr > files.psnr_filter)
    value = f"{share:.1%} over {files.psnr_filter:g} dB; mean PSNR {mean(statistics.psnr):.2f} dB"
    rule = "At least half of the frames; the others do not train. Few: the renderer is poor, or from another domain."
    return Check("Kept by the PSNR filter", _high(share, 0.5, 0.2), value, rule)


def _agreement(statistics: FrameStatistics) -> Check:
    correlation = 1 - float(np.nanmedian(statistics.maps)) if np.isfinite(statistics.maps).any() else float("nan")
    rule = "At least 0.2 in the median frame. Unrelated maps: one of them does not measure motion."
    return Check("Correlation of the maps", _high(correlation, 0.2, 0.0), f"{correlation:.2f}", rule)


def _moving_masks(statistics: FrameStatistics) -> list[Check]:
    empty, covered, full = _masks(statistics)
    verdict: Verdict = "wrong" if covered == 0 else "look" if covered < 0.01 else _low(covered, 0.35, 0.6)
    return [
        Check("Coverage", verdict, f"{covered:.1%} of a frame on average", "1% to 35%: some things move, most do not."),
        Check("Empty masks", _low(empty, 0.5, 0.9), f"{empty:.1%}", "At most half of the frames."),
        Check("Nearly full masks", _low(full, 0.01, 0.05), f"{full:.1%}", f"At most 1% of frames over {_FULL:.0%}."),
    ]


def _still_masks(statistics: FrameStatistics) -> list[Check]:
    empty, covered, full = _masks(statistics)
    rule = "At most 5% of a frame: nothing moves in this split, so every marked pixel is wrong."
    return [
        Check("Coverage", _low(covered, 0.05, 0.15), f"{covered:.1%} of a frame on average", rule),
        Check("Empty masks", _high(empty, 0.5, 0.1), f"{empty:.1%}", "At least half of the frames: nothing moves."),
        Check("Nearly full masks", _low(full, 0.0, 0.01), f"{full:.1%}", f"No frame over {_FULL:.0%}."),
    ]


def _masks(statistics: FrameStatistics) -> tuple[float, float, float]:
    covered = statistics.coverage
    return mean(covered == 0), mean(covered), mean(covered > _FULL)


def _refinement(statistics: FrameStatistics) -> Check:
    marked = statistics.patch > 0
    lost = mean(statistics.pixel[marked] == 0) if marked.any() else 0.0
    rule = "At most 20% of the patch masks. More: components are too small for refine.min_area, or GrabCut fails."
    return Check("Emptied by refinement", _low(lost, 0.2, 0.5), f"{lost:.1%} of the patch masks", rule)


def _truth(statistics: FrameStatistics) -> Check:
    moving = np.isfinite(statistics.iou)
    iou, everything = mean(statistics.iou), mean(statistics.true[moving])
    rule = "At least 1.5 times the IoU of marking everything. Meaningless if the marked objects stand still."
    verdict = _high(iou, 1.5 * everything, everything)
    return Check("IoU with the truth", verdict, f"{iou:.1%}; marking everything gives {everything:.1%}", rule)
