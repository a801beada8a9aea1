"""COLMAP's text model of each scene: `sparse/0/cameras.txt`, `images.txt` and an empty `points3D.txt`.

Source: COLMAP's output format, https://colmap.github.io/format.html#text-format.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from wildrayzer.tools.export.cameras import all_equal, checked, in_pixels, with_cameras
from wildrayzer.tools.export.export import Counts, Format
from wildrayzer.tools.export.pictures import keep_mask, write_image
from wildrayzer.tools.export.source import ExportSource

POLARITY = "white (255) = keep, black (0) = transient or unknown, ignored by COLMAP (--ImageReader.mask_path)"


def write_colmap(source: ExportSource, scenes: list[str], folder: Path, counts: Counts) -> None:
    """Write `SCENE/sparse/0/*.txt`, `SCENE/images/` and, where masks are known, `SCENE/masks/NAME.png.png`.

    Camera model PINHOLE; poses are world-to-camera. There are no points. A comment in the files says what the cameras
    are.

    Raises:
        ValueError: the source has no cameras, or one is broken.
    """
    comment = with_cameras(source)
    for scene in scenes:
        names, poses, intrinsics = [], [], []
        for frame in source.read(scene):
            counts.add(frame)
            camera = checked(frame, where=scene)
            name = f"{frame.name}.png"
            write_image(folder / scene / "images" / name, frame.image)
            if frame.mask is not None:
                write_image(folder / scene / "masks" / f"{name}.png", keep_mask(frame.mask))
            names.append(name)
            poses.append(_pose(camera.c2w))
            intrinsics.append(in_pixels(camera, frame))
        height, width = frame.image.shape[:2]
        shared = all_equal(intrinsics)
        models = [
            f"{number} PINHOLE {width} {height} {_numbers(row)}"
            for number, row in enumerate(intrinsics[:1] if shared else intrinsics, start=1)
        ]
        images = [
            f"{number} {_numbers(pose)} {1 if shared else number} {name}\n"  # an empty line: no points
            for number, (pose, name) in enumerate(zip(poses, names, strict=True), start=1)
        ]
        model = folder / scene / "sparse" / "0"
        model.mkdir(parents=True)
        for file, columns, lines in (
            ("cameras.txt", "CAMERA_ID, MODEL, WIDTH, HEIGHT, fx, fy, cx, cy", models),
            ("images.txt", "IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME; then POINTS2D[], empty", images),
            ("points3D.txt", "POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[]; there are no points", []),
        ):
            text = "".join(f"{line}\n" for line in (f"# {comment}", f"# {columns}", *lines))
            (model / file).write_text(text, encoding="utf-8")


def _pose(c2w: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "7"]:
    """World-to-camera as QW QX QY QZ TX TY TZ, QW not negative."""
    rotation = Rotation.from_matrix(c2w[:3, :3]).inv()
    quaternion = rotation.as_quat(canonical=True)[[3, 0, 1, 2]]
    return np.concatenate([quaternion, -rotation.apply(c2w[:3, 3])]) + 0.0  # no -0.0


def _numbers(values: np.ndarray) -> str:
    return " ".join(repr(value) for value in values.tolist())


COLMAP = Format("COLMAP", write_colmap, POLARITY, cameras=True)
