"""nerfstudio's `transforms.json` for each scene, with masks in its polarity.

Source: nerfstudio's data conventions, https://docs.nerf.studio/quickstart/data_conventions.html.
"""

from pathlib import Path
from typing import Any

import numpy as np

from wildrayzer.io.files import write_json
from wildrayzer.tools.export.cameras import all_equal, checked, in_pixels, with_cameras
from wildrayzer.tools.export.export import Counts, Format
from wildrayzer.tools.export.pictures import keep_mask, write_image
from wildrayzer.tools.export.source import ExportSource

POLARITY = "white (255) = keep, black (0) = transient or unknown, left out of training"
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""From OpenCV axes (y down, z forward) to OpenGL's (y up, z backward)."""


def write_nerfstudio(source: ExportSource, scenes: list[str], folder: Path, counts: Counts) -> None:
    """Write `SCENE/transforms.json`, `SCENE/images/` and, where masks are known, `SCENE/masks/`.

    Cameras are camera-to-world with OpenGL axes; intrinsics are in pixels. The entry `comment` says what cameras and
    masks are.

    Raises:
        ValueError: the source has no cameras, or one is broken.
    """
    comment = with_cameras(source)
    comment += f" Masks: {source.masks}; {POLARITY}." if source.masks else ""
    for scene in scenes:
        entries: list[dict[str, Any]] = []
        intrinsics: list[np.ndarray] = []
        for frame in source.read(scene):
            counts.add(frame)
            camera = checked(frame, where=scene)
            intrinsics.append(in_pixels(camera, frame))
            entry: dict[str, Any] = {"file_path": f"images/{frame.name}.png"}
            write_image(folder / scene / entry["file_path"], frame.image)
            if frame.mask is not None:
                entry["mask_path"] = f"masks/{frame.name}.png"
                write_image(folder / scene / entry["mask_path"], keep_mask(frame.mask))
            entries.append(entry | {"transform_matrix": (camera.c2w @ _FLIP).tolist()})
        height, width = frame.image.shape[:2]
        size = {"camera_model": "PINHOLE", "w": width, "h": height}
        named = [dict(zip(("fl_x", "fl_y", "cx", "cy"), row.tolist(), strict=True)) for row in intrinsics]
        if all_equal(intrinsics):
            size |= named[0]
        else:
            entries = [entry | own for entry, own in zip(entries, named, strict=True)]
        write_json(folder / scene / "transforms.json", {"comment": comment, **size, "frames": entries})


NERFSTUDIO = Format("nerfstudio", write_nerfstudio, POLARITY, cameras=True)
