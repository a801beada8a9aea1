"""`wildrayzer render`: renderings, masks, a camera path and a page from unposed views and a checkpoint."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import track

from wildrayzer.checkpoint import CheckpointManifest, load_checkpoint
from wildrayzer.data.ingest.views import View, read_views
from wildrayzer.evaluation.methods.unposed import EncodedScene, RenderedView, render_path, render_views, to_picture
from wildrayzer.geometry.rays import plucker_rays
from wildrayzer.io.files import write_bytes_atomic, write_json
from wildrayzer.io.outputs import check_own_folder, private_folder, put_in_place, remove_leftovers
from wildrayzer.models import WildRayZer
from wildrayzer.models.precision import keep_float32
from wildrayzer.tools.export.source import RENDER
from wildrayzer.tools.render.checks import RenderOptions, head_backbone, pick_inputs, why_static
from wildrayzer.tools.render.page import Rendered, rendered_page
from wildrayzer.tools.render.video import write_video


def render(
    checkpoint: Path,
    paths: Sequence[Path],
    out: Path,
    options: RenderOptions,
    *,
    device: torch.device | str = "cpu",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Render views without what moves; writes the folder `out` and returns the content of its `render.json`.

    `out` appears when everything in it is written. With `overwrite` it may be an earlier rendering.

    Raises:
        ValueError: `out` holds something, an unreadable picture, a view count that the checkpoint was not trained with,
            masks requested from a checkpoint without a trained motion head, or missing or other features.
    """
    check_own_folder(out, RENDER, "rendering", overwrite=overwrite)
    keep_float32()
    model, manifest = load_checkpoint(checkpoint, device=device)
    model.eval().requires_grad_(False)
    why = why_static(manifest)
    if why and (options.masks or options.gate_threshold is not None):
        option = "--masks" if options.masks else "--gate-threshold"
        raise ValueError(f"{option}: {checkpoint} {why}; use a checkpoint of a later stage, such as joint")
    views = read_views(paths, image_size=model.config.image_size, frames=options.frames)
    inputs, forced = pick_inputs(checkpoint, manifest, len(views), options)
    if options.video and len(inputs) < 2:
        raise ValueError("--video: a camera path leads through the input views and needs two; give --inputs 2 or more")
    backbone, warning = (None, None) if why else head_backbone(checkpoint, manifest, options, device)
    forced += [warning] if warning else []
    images = np.stack([view.image for view in views])
    rendered, scene = render_views(
        model, images, inputs, targets=manifest.targets, backbone=backbone, gated=not why, device=device,
        threshold=options.gate_threshold,
    )  # fmt: skip
    about = _about(checkpoint, manifest, views, rendered, options)
    about |= {"gated": not why, "why_not_gated": why, "forced": forced}
    remove_leftovers(out, "render")
    folder = private_folder(out, "render")
    try:
        _write_pictures(folder, views, rendered, options)
        path_frames = _write_path(folder, model, scene, about, options) if options.video else ()
        write_json(folder / RENDER, about)
        page = rendered_page(
            Rendered(about, views, rendered, path_frames, folder / "path.mp4", options.masks, options.plucker)
        )
        write_bytes_atomic(folder / "index.html", page.encode())
        put_in_place(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return about


def _about(
    checkpoint: Path,
    manifest: CheckpointManifest,
    views: Sequence[View],
    rendered: Sequence[RenderedView],
    options: RenderOptions,
) -> dict[str, Any]:
    return {
        "checkpoint": str(checkpoint),
        "stage": manifest.stage,
        "weights_digest": manifest.weights_digest,
        "image_size": manifest.model.image_size,
        "trained_inputs": sorted(set(manifest.inputs)),
        "targets": manifest.targets,
        "masks": options.masks,
        "gate_threshold": options.gate_threshold,
        "views": [
            {
                "name": view.name,
                "input": made.is_input,
                "recorded": view.recorded,
                "kept": round(view.kept, 3),
                "c2w": made.cameras.c2w[0, 0].tolist(),
                "c2w_common": None if made.common_c2w is None else made.common_c2w.tolist(),
                "fxfycxcy": made.cameras.intrinsics[0, 0].tolist(),
                "transient_share": None if made.probability is None else round(float(made.probability.mean()), 4),
            }
            for view, made in zip(views, rendered, strict=True)
        ],
    }


def _write_pictures(
    root: Path, views: Sequence[View], rendered: Sequence[RenderedView], options: RenderOptions
) -> None:
    for view, made in zip(views, rendered, strict=True):
        name = f"{made.number:03d}"
        _png(root / "recorded" / f"{name}.png", view.image)
        _png(root / "renderings" / f"{name}.png", to_picture(made.rendering))
        if options.masks and made.probability is not None:
            _png(root / "masks" / f"{name}.png", (made.probability.numpy() * 255).round().astype(np.uint8))
        if options.plucker:
            rays = plucker_rays(made.cameras, *made.rendering.shape[1:])[0, 0].numpy()
            (root / "plucker").mkdir(exist_ok=True)
            np.save(root / "plucker" / f"{name}.npy", rays)


def _png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes())


def _write_path(
    root: Path, model: WildRayZer, scene: EncodedScene, about: dict[str, Any], options: RenderOptions
) -> tuple[UInt8[np.ndarray, "h w 3"], ...]:
    """Write `path.mp4` and the path's cameras; returns a few frames."""
    cameras, kept = [], []
    shown = set(np.linspace(0, options.path_frames - 1, 6).round().astype(int).tolist())

    def frames() -> Iterator[np.ndarray]:
        made = render_path(model, scene, options.path_frames)
        for number, (camera, image) in enumerate(
            track(made, "camera path", total=options.path_frames, console=Console(stderr=True))
        ):
            cameras.append({"c2w": camera.c2w[0, 0].tolist(), "fxfycxcy": camera.intrinsics[0, 0].tolist()})
            picture = to_picture(image)
            if number in shown:
                kept.append(picture)
            yield picture

    encoder = write_video(root / "path.mp4", frames())
    about["path"] = {"frames": len(cameras), "encoder": encoder, "cameras": cameras}
    return tuple(kept)
