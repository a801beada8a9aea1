"""The page of `masks run`: videos with what moves marked, how the masks came about, and what would make them better."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wildrayzer.checkpoint import read_manifest
from wildrayzer.config import RunConfig
from wildrayzer.data.ingest.report import IngestedSource, IngestReport
from wildrayzer.report.page.page import KeyValues, Note, Section, Video, render_page
from wildrayzer.report.run_files import MaskFiles
from wildrayzer.report.sections.gallery import colour_scales, how_masks_are_made, mask_gallery

_POOR, _CROWDED = 0.5, 0.4
"""Shares from which on advice is given: of frames that are rendered badly, and of the frame that masks cover."""
_FEW_PIXELS = 128


@dataclass(frozen=True)
class MaskNumbers:
    """What the masks of the videos look like in numbers."""

    frames: int
    """Frames in the store."""
    computed: int
    """Frames with a mask; the others are in no window."""
    psnr: float
    """Mean rendering PSNR of these, dB."""
    kept: float
    """Share of these that is rendered better than the PSNR filter asks for."""
    coverage: float
    """Mean share of the square that is marked."""

    @classmethod
    def of(cls, files: MaskFiles, config: RunConfig) -> "MaskNumbers":
        """The numbers of an opened cache with pixel masks, in which some frame is computed."""
        assert files.pixels is not None, "own videos are refined"
        computed = np.flatnonzero(files.maps.window >= 0)
        psnr = files.maps.psnr[computed]
        covered = files.pixels.all("coverage")[computed]
        kept = float((psnr > config.distill.psnr_filter).mean())
        return cls(files.store.num_frames, len(computed), float(psnr.mean()), kept, float(covered.mean()))


def advice(numbers: MaskNumbers, config: RunConfig) -> list[str]:
    """What the masks would need to be better, the most important first."""
    found = []
    assert config.pretrained is not None, "own videos start from a checkpoint"
    if read_manifest(config.pretrained).only_embedded:
        found.append(
            "A renderer that has seen real scenes. This one has seen only procedural rooms, and marks "
            "whatever it renders badly. Import a released checkpoint and name it by --checkpoint (docs/checkpoints.md)."
        )
    if config.features.backbone == "descriptor":
        found.append(
            "Learned features. The descriptor stands in for DINOv3: name a configuration with features.backbone: "
            "dinov3 by --base. It needs these weights, and preferably a GPU."
        )
    if config.model.image_size < _FEW_PIXELS:
        found.append(
            f"More pixels. Masks are made at {config.model.image_size} px, on patches of {config.model.patch_size} px: "
            "outlines are coarse and small things are missed."
        )
    if numbers.kept < _POOR:
        found.append(
            f"Smaller steps of the camera. {1 - numbers.kept:.0%} of the frames are rendered below "
            f"{config.distill.psnr_filter:g} dB: try a higher --fps, a steadier camera, or fixed exposure."
        )
    if numbers.coverage > _CROWDED:
        found.append(
            f"A look at the pictures. Masks cover {numbers.coverage:.0%} of the frame on average; either most of it "
            "moves, or the renderer fails nearly everywhere."
        )
    if config.pseudo_masks.absolute_test != "off":
        found.append(
            "Thresholds of your own. They were calibrated on the clips of the configuration; recordings in which "
            "nothing moves, as a split with purpose: calibration, fit better (docs/own-videos.md)."
        )
    return found


def masks_page(
    files: MaskFiles,
    config: RunConfig,
    report: IngestReport,
    videos: list[Path],
    numbers: MaskNumbers,
    better: list[str],
) -> str:
    """The page as HTML, with the lines of `advice`; the videos lie beside it."""
    by_name = {video.stem: video for video in videos}
    shown = tuple(
        Video(source.name, f"overlays/{by_name[source.name].name}", _about(source))
        for source in report.sources
        if source.name in by_name
    )
    text = "Each target with the inputs that it was rendered from; residuals as 1 − similarity. White: moves."
    sections = [
        Section(
            "videos",
            "What moves",
            "Orange: marked as moving. Dimmed: outside of the square that is used.",
            tuple(shown),
        ),
        *([Section("better", "What would make the masks better", "", tuple(map(Note, better)))] if better else []),
        Section(
            "how",
            "How the masks came about",
            how_masks_are_made(config),
            (mask_gallery(files, text, config, colour_scales(files.maps)),),
        ),
        Section("numbers", "Numbers", "", (_facts(numbers, config),)),
    ]
    lead = (
        "A renderer that knows only still scenes predicted each frame from its neighbours. Where a frame looks unlike "
        "its prediction, something moved, or the renderer failed for another reason. No label was needed."
    )
    return render_page(f"Motion masks of {len(videos)} {'video' if len(videos) == 1 else 'videos'}", lead, sections)


def _about(source: IngestedSource) -> str:
    size = " × ".join(map(str, source.recorded))
    clips = f"{len(source.clips)} clip{'s' if len(source.clips) != 1 else ''}"
    return f"{source.used} frames in {clips}; recorded at {size} px."


def _facts(numbers: MaskNumbers, config: RunConfig) -> KeyValues:
    assert config.pretrained is not None
    lost = numbers.frames - numbers.computed
    outside = f"; {lost} are in no residual window" if lost else ""
    limit = f"{config.distill.psnr_filter:g} dB"
    return KeyValues((
        ("frames with a mask", f"{numbers.computed} of {numbers.frames}{outside}"),
        ("rendering PSNR", f"{numbers.psnr:.1f} dB on average; {numbers.kept:.0%} of the frames over {limit}"),
        ("marked", f"{numbers.coverage:.1%} of the square on average"),
        ("renderer", f"{config.pretrained}, weights {read_manifest(config.pretrained).weights_digest}"),
        ("features", config.features.backbone),
        ("size", f"{config.model.image_size} px, patches of {config.model.patch_size} px"),
    ))  # fmt: skip
