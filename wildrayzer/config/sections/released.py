"""What a public checkpoint should give: the target `released_table`."""

from typing import Literal

from pydantic import Field

from wildrayzer.config.base import FilePath, Section


class ReleasedConfig(Section):
    """A public checkpoint, imported and compared with its published figures."""

    affects = "result"

    file: FilePath
    """File of the release. A place in the table of sources is fetched when it is missing."""
    row: str
    """Entry of `benchmark.checkpoints` that it becomes; its `path` is where the import goes."""
    inputs: int = Field(2, ge=1)
    """Input views that it was trained with."""
    targets: int = Field(6, ge=1)
    """Target views that it was trained with."""
    canonical: Literal["first", "middle"] = "first"
    """View whose camera is the world frame."""
    psnr_tolerance: float = Field(0.3, gt=0.0)
    """Difference from a published PSNR, in dB, that still counts as agreement."""
    iou_tolerance: float = Field(0.02, gt=0.0)
    """The same for mask IoU, as a share of 1."""
