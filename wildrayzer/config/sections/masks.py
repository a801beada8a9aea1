"""Residual windows, pseudo-mask voting and pixel refinement (stage 2 of the method)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wildrayzer.config.base import PAPER, RELEASE, SUPPLEMENT_A, SUPPLEMENT_B, TABLES, Paper, Rounding, Section, Speed


class ResidualsConfig(Section):
    """Windows to render with the frozen renderer, and the maps computed on them."""

    affects = "result"

    targets: Annotated[int, Paper(SUPPLEMENT_A, listed=False)] = Field(6, ge=1)
    """Most target frames in a window (T)."""
    inputs: Annotated[int, Paper(SUPPLEMENT_A, listed=False)] = Field(2, ge=2, le=4)
    """Input frames of a window (K)."""
    batch: Rounding[int] = Field(8, ge=1)
    """Windows rendered at once."""
    shards: Speed[int] = Field(1, ge=1)
    """Jobs that share out the parts of the training split; more than it has parts stand idle."""
    ssim_window: Annotated[Literal["gaussian", "uniform"], Paper(SUPPLEMENT_B, listed=False)] = "gaussian"
    """`gaussian`: 11×11, σ 1.5 (paper). `uniform`: 11×11 box on uint8, sample covariance (release)."""
    ssim_size: Annotated[int, Paper(SUPPLEMENT_B, listed=False)] = Field(11, ge=3)
    """Side of the SSIM window in pixels; odd, and no larger than `model.image_size`."""
    clusters: Annotated[int, Paper(RELEASE, listed=False)] = Field(64, ge=2, le=255)
    """K-means clusters over the features of a window's targets (k); their numbers are stored in a byte."""
    kmeans_iterations: int = Field(30, ge=1)
    """Most Lloyd iterations."""
    kmeans_restarts: int = Field(1, ge=1)
    """K-means++ starts; the one with the least inertia is kept."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Arithmetic of the renderer; residual maps are always in float32. `bfloat16` is autocast. The features have
    `features.precision`."""

    @model_validator(mode="after")
    def _window_is_odd(self) -> "ResidualsConfig":
        if self.ssim_size % 2 == 0:
            raise ValueError(f"residuals.ssim_size = {self.ssim_size} is even; choose an odd window")
        return self


class PseudoMasksConfig(Section):
    """Fusion, cluster voting and the absolute test. Changing it reruns voting and what follows, no GPU stage."""

    affects = "result"

    weighting: Annotated[Literal["adaptive", "fixed"], Paper(TABLES, listed=False)] = "adaptive"
    """`adaptive`: the SSIM weight rises with the frame's rendering PSNR (paper). `fixed`: constant (release)."""
    dino_weight: float = Field(0.6, ge=0.0, le=1.0)
    """Feature weight when `fixed`; SSIM gets the rest."""
    dino_weight_low: float = Field(0.8, ge=0.0, le=1.0)
    """`adaptive`: feature weight at or under `psnr_low`."""
    dino_weight_high: float = Field(0.4, ge=0.0, le=1.0)
    """`adaptive`: feature weight at or over `psnr_high`; linear in between."""
    psnr_low: float = 17.0
    """`adaptive`: rendering PSNR in dB of a poor renderer."""
    psnr_high: float = 27.0
    """`adaptive`: rendering PSNR in dB of a good renderer."""
    top_share: Annotated[float, Paper(RELEASE, listed=False)] = Field(0.05, gt=0.0, le=1.0)
    """Share of a window's clusters, by mean saliency, that may be foreground (quantile 0.95)."""
    frame_quantile: Annotated[float, Paper(RELEASE, listed=False)] = Field(0.75, ge=0.0, lt=1.0)
    """A cluster votes in a frame where its median saliency reaches this quantile of all the frame's patches."""
    frame_share: Annotated[float, Paper(RELEASE, listed=False)] = Field(2 / 3, gt=0.0, le=1.0)
    """Least share of a window's target frames with a vote (4 of 6)."""
    absolute_test: Annotated[Literal["off", "patch", "cluster", "region"], Paper(PAPER)] = "off"
    """Extra test against thresholds calibrated on static clips: voting alone is rank-based and marks as much where
    nothing moves. `patch` keeps patches over the threshold, `cluster` keeps a cluster in the frames where its mean is,
    `region` keeps connected patches over a lower threshold that touch one over the threshold. Not in the paper."""
    false_positive_rate: float = Field(0.02, gt=0.0, lt=1.0)
    """Share of patches of static calibration clips that are over the absolute test's threshold."""
    region_rate: float = Field(0.1, gt=0.0, lt=1.0)
    """Share of them that is over the lower threshold of `absolute_test: region`; above `false_positive_rate`."""

    @model_validator(mode="after")
    def _ordered(self) -> "PseudoMasksConfig":
        if self.psnr_high <= self.psnr_low:
            raise ValueError(
                f"pseudo_masks.psnr_high = {self.psnr_high} is not above pseudo_masks.psnr_low = {self.psnr_low}"
            )
        if self.absolute_test == "region" and self.region_rate <= self.false_positive_rate:
            raise ValueError(
                f"pseudo_masks.region_rate = {self.region_rate} is not above pseudo_masks.false_positive_rate = "
                f"{self.false_positive_rate}; with absolute_test: region it is the rate of the lower threshold"
            )
        return self


class RefineConfig(Section):
    """Patch mask to pixel mask: morphology, small components, GrabCut. Sizes are in pixels of the stored frame."""

    affects = "result"

    morphology: Annotated[int, Paper(SUPPLEMENT_A, listed=False)] = Field(3, ge=0)
    """Side of the elliptic kernel for one closing and one opening; 0 leaves both out."""
    min_area: Annotated[float, Paper(SUPPLEMENT_A, listed=False)] = Field(0.0025, ge=0.0, lt=1.0)
    """Components under this share of the image are dropped."""
    grabcut: Annotated[bool, Paper(SUPPLEMENT_A)] = True
    """Sharpen with GrabCut."""
    grabcut_iterations: Annotated[int, Paper(RELEASE, listed=False)] = Field(5, ge=1)
    """GrabCut iterations."""
    seed_erosion: Annotated[int, Paper(RELEASE, listed=False)] = Field(7, ge=1)
    """Side of the erosion that gives sure foreground and sure background."""
    grabcut_scale: int = Field(1, ge=1, le=8)
    """GrabCut runs on the image enlarged this many times; small images need more pixels for its colour models."""
    grabcut_margin: int | None = Field(None, ge=1)
    """GrabCut sees only the undecided band and so many pixels around it, in less time and with colour models of that
    place. Null shows it the whole image (release)."""
    shards: Speed[int] = Field(1, ge=1)
    """Jobs that share out the parts of the training split; with 1, the job that lists the masks makes them as well."""
