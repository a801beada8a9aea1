"""DAVIS layout: `JPEGImages/480p/SCENE/00000.jpg`, `Annotations/480p/SCENE/00000.png` (palette), and lists of scenes.

Source: F. Perazzi et al., A benchmark dataset and evaluation methodology for video object segmentation, 2016, and
J. Pont-Tuset et al., The 2017 DAVIS challenge on video object segmentation, 2017.
"""

import functools
from pathlib import Path

from wildrayzer.tools.export.export import Counts, Format
from wildrayzer.tools.export.pictures import write_image, write_palette
from wildrayzer.tools.export.source import ExportSource

POLARITY = "0 = static, 1 = transient (one object: the union of all that moves), 255 = unknown (void)"


def write_davis(
    source: ExportSource, scenes: list[str], folder: Path, counts: Counts, *, images: bool, masks: bool
) -> None:
    """Write frames, masks or both in the layout of DAVIS. The folder is called 480p whatever the size of the frames.

    Args:
        source: has masks where `masks` asks for them.
        scenes: to write.
        folder: empty.
        counts: to add to.
        images: write JPEGImages (quality 95: the layout has no lossless frames).
        masks: write Annotations.
    """
    for scene in scenes:
        for frame in source.read(scene):
            counts.add(frame)
            if images:
                write_image(folder / "JPEGImages" / "480p" / scene / f"{frame.name}.jpg", frame.image)
            if masks and frame.mask is not None:
                write_palette(folder / "Annotations" / "480p" / scene / f"{frame.name}.png", frame.mask)
    for year in ("2016", "2017"):
        listing = folder / "ImageSets" / year / "val.txt"
        listing.parent.mkdir(parents=True)
        listing.write_text("".join(f"{scene}\n" for scene in scenes), encoding="utf-8")


def davis_format(*, images: bool, masks: bool) -> Format:
    """The layout of DAVIS, with frames, masks or both; see `write_davis`."""
    return Format("DAVIS", functools.partial(write_davis, images=images, masks=masks), POLARITY, cameras=False)
