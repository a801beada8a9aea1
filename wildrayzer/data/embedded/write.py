"""Write procedural clips in the layouts of the sets they stand in for.

`pixelsplat`: `.torch` chunks with JPEG bytes and `index.json`. `lvsm`: full_list.txt, metadata/SCENE.json, PNG files,
`binary_masks/SCENE/00000.npy` (1 = transient) and clean twins named by `gt_image_path`.
"""

import json
import shutil
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from rich.progress import track

from wildrayzer.config.sections.data import EmbeddedConfig
from wildrayzer.data.embedded.scene import FOCAL
from wildrayzer.data.embedded.splits import RenderedClip, iterate_clips
from wildrayzer.io.files import replacing, write_bytes_atomic, write_json

SCENES_PER_CHUNK = 50
"""Scenes in a `.torch` chunk."""
JPEG_QUALITY = 95
"""Quality of the JPEG bytes in chunks; colours are not subsampled."""
MANIFEST = "embedded.json"
"""File that names the layout; written last."""


def encode_jpeg(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """JPEG bytes, 4:4:4."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]  # fmt: skip
    return cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()


def encode_png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """PNG bytes."""
    return cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def world_to_camera(c2w: Float[np.ndarray, "t 4 4"]) -> Float[np.ndarray, "t 4 4"]:
    """Inverse of rigid camera-to-world matrices."""
    w2c = np.tile(np.eye(4), (len(c2w), 1, 1))
    w2c[:, :3, :3] = c2w[:, :3, :3].transpose(0, 2, 1)
    w2c[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], c2w[:, :3, 3])
    return w2c


def camera_rows(c2w: Float[np.ndarray, "t 4 4"]) -> Float32[np.ndarray, "t 18"]:
    """pixelSplat's rows: fx fy cx cy (normalised), two unused, 3×4 world-to-camera row-major."""
    rows = np.zeros((len(c2w), 18), np.float32)
    rows[:, :4] = [FOCAL, FOCAL, 0.5, 0.5]
    rows[:, 6:] = world_to_camera(c2w)[:, :3].reshape(-1, 12)
    return rows


def scene_name(split: str, number: int) -> str:
    """Name of a clip: of the split it is in, not of the one that seeds it."""
    return f"{split}_{number:05d}"


def _encode_chunk_scene(made: RenderedClip, *, split: str) -> dict[str, Any]:
    return {
        "key": scene_name(split, made.number),
        "timestamps": (made.clip.times * 1e6).astype(np.int64),
        "cameras": camera_rows(made.clip.c2w),
        "images": [encode_jpeg(frame) for frame in made.rendering.frames],
    }


def _write_chunk(path: Path, scenes: list[dict[str, Any]]) -> None:
    import torch

    # Keys are spelt out: pickle writes a shared string once, and strings from other processes are not shared.
    tensors = [
        {
            "key": scene["key"],
            "url": "",
            "timestamps": torch.from_numpy(scene["timestamps"]),
            "cameras": torch.from_numpy(scene["cameras"]),
            "images": [torch.frombuffer(bytearray(jpeg), dtype=torch.uint8) for jpeg in scene["images"]],
        }
        for scene in scenes
    ]
    # A file that is opened here: torch would write the temporary name into the chunk.
    with replacing(path) as temporary, temporary.open("wb") as stream:
        torch.save(tensors, stream)


def _write_pixelsplat(config: EmbeddedConfig, split: str, out: Path, *, image_size: int, threads: int) -> None:
    encode = partial(_encode_chunk_scene, split=split)
    count = config.splits[split].scenes
    scenes = iterate_clips(config, split, encode, image_size=image_size, threads=threads)
    shown = iter(track(scenes, total=count, description=f"{split}: clips"))
    index: dict[str, str] = {}
    while chunk := list(islice(shown, SCENES_PER_CHUNK)):
        name = f"{len(index) // SCENES_PER_CHUNK:06d}.torch"
        _write_chunk(out / name, chunk)
        index |= {scene["key"]: name for scene in chunk}
    write_json(out / "index.json", index)


def _write_lvsm_scene(made: RenderedClip, *, split: str, out: Path, truth: str, image_size: int) -> str:
    name = scene_name(split, made.number)
    folders = {"frames": out / "images" / name, "clean": out / "gt_images" / name, "masks": out / "binary_masks" / name}
    wanted = {"none": ["frames"], "masks": ["frames", "masks"], "masks_and_clean": ["frames", "masks", "clean"]}[truth]
    for key in wanted:
        folders[key].mkdir(parents=True)
    focal, centre = FOCAL * image_size, 0.5 * image_size
    frames = []
    for number, w2c in enumerate(world_to_camera(made.clip.c2w)):
        file = f"{number:05d}.png"
        (folders["frames"] / file).write_bytes(encode_png(made.rendering.frames[number]))
        frame = {
            "image_path": f"../images/{name}/{file}",
            "fxfycxcy": [focal, focal, centre, centre],
            "w2c": w2c.tolist(),
        }
        if "clean" in wanted:
            (folders["clean"] / file).write_bytes(encode_png(made.rendering.clean[number]))
            frame["gt_image_path"] = f"../gt_images/{name}/{file}"
        if "masks" in wanted:
            np.save(folders["masks"] / f"{number:05d}.npy", made.rendering.masks[number])
        frames.append(frame)
    document = {"scene_name": name, "frames": frames}
    (out / "metadata" / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    return f"metadata/{name}.json"


def _write_lvsm(config: EmbeddedConfig, split: str, out: Path, *, image_size: int, threads: int) -> None:
    (out / "metadata").mkdir()
    rules = config.splits[split]
    encode = partial(_write_lvsm_scene, split=split, out=out, truth=rules.truth, image_size=image_size)
    scenes = iterate_clips(config, split, encode, image_size=image_size, threads=threads)
    lines = list(track(scenes, total=rules.scenes, description=f"{split}: clips"))
    write_bytes_atomic(out / "full_list.txt", ("\n".join(lines) + "\n").encode())


def write_split(config: EmbeddedConfig, split: str, out: Path, *, image_size: int, threads: int = 1) -> None:
    """Make a split from scratch in the folder `out`; what was there is replaced.

    Raises:
        ValueError: no such split, or truth asked for in the chunk layout, which cannot hold it.
    """
    if split not in config.splits:
        raise ValueError(f"data.embedded.splits has no {split!r}; known: {sorted(config.splits)}")
    rules = config.splits[split]
    if rules.layout == "pixelsplat" and rules.truth != "none":
        raise ValueError(
            f"data.embedded.splits.{split}: layout: pixelsplat cannot hold truth: {rules.truth}; use layout: lvsm"
        )
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    write = _write_pixelsplat if rules.layout == "pixelsplat" else _write_lvsm
    write(config, split, out, image_size=image_size, threads=threads)
    write_json(out / MANIFEST, {"layout": rules.layout, "split": split, "scenes": rules.scenes})
