"""The page of `wildrayzer render`: views, masks, the camera path and Plücker diagnostics."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from wildrayzer.data.ingest.views import View
from wildrayzer.evaluation.methods.unposed import RenderedView, to_picture
from wildrayzer.geometry.rays import plucker_rays
from wildrayzer.report.page.page import (
    Block,
    Column,
    Figures,
    Gallery,
    GalleryRow,
    KeyValues,
    Note,
    Picture,
    Section,
    Video,
    render_page,
)
from wildrayzer.report.page.pictures import encode, heat, map_uri, mask_picture, outlined, ramp, resize, strip
from wildrayzer.tools.render.plucker import direction_picture, klein_residual, moment_length
from wildrayzer.tools.render.video import ENCODERS, LEAST_SIDE

_KLEIN = 1e-6
"""Upper end of the colour scale: a few rounding errors of float32."""


@dataclass(frozen=True)
class Rendered:
    """Everything that the page shows."""

    about: dict[str, Any]
    """Content of `render.json`."""
    views: Sequence[View]
    rendered: Sequence[RenderedView]
    path_frames: Sequence[UInt8[np.ndarray, "h w 3"]]
    """A few frames of the camera path; empty without a path."""
    video: Path
    """The camera path as MP4 file."""
    masks: bool
    plucker: bool


def rendered_page(made: Rendered) -> str:
    """The page as self-contained HTML."""
    sections = [Section("what", "What was rendered", "", tuple(_facts(made)))]
    sections.append(Section("views", "Views", _views_text(made), (_views(made),)))
    if made.masks:
        sections.append(Section("masks", "Motion masks", _MASKS, (_masks(made),)))
    if made.path_frames:
        sections.append(Section("path", "Camera path", _path_text(made), tuple(_path(made))))
    if made.plucker:
        sections.append(Section("plucker", "Plücker rays", _PLUCKER, (_rays(made),)))
    inputs = sum(view.is_input for view in made.rendered)
    lead = f"{len(made.views)} views, {inputs} of them inputs, rendered by {made.about['checkpoint']}."
    return render_page("Renderings of unposed views", lead, sections)


def _facts(made: Rendered) -> list[Block]:
    about = made.about
    trained = ", ".join(map(str, about["trained_inputs"]))
    removal = "by its motion head" if about["gated"] else f"nothing is removed: the checkpoint {about['why_not_gated']}"
    sizes = sorted({view.recorded for view in made.views})
    kept = min(view.kept for view in made.views)
    crop = "kept whole" if kept == 1 else f"the middle square is kept, at least {kept:.0%} of a picture"
    rows = (
        ("checkpoint", f"{about['checkpoint']}, stage {about['stage']}, weights {about['weights_digest']}"),
        ("input views", f"{sum(v.is_input for v in made.rendered)}; trained with {trained}"),
        ("transients", removal),
        ("pictures", f"{', '.join(f'{w}×{h}' for w, h in sizes)}: {crop}, resized to {about['image_size']} px"),
        ("cameras", "predicted from the pictures; scale and axes are the network's own, the first input is the origin"
         if made.rendered[0].is_input else "predicted from the pictures"),
    )  # fmt: skip
    return [*(Note(f"Forced: {text}. The quality may be poor.") for text in about["forced"]), KeyValues(rows)]


def _views_text(made: Rendered) -> str:
    gate = "what moves in the inputs is removed" if made.about["gated"] else "what moves is still visible"
    return (
        f"Each recorded picture with its rendering; {gate}. Inputs contribute pixels and cameras, targets only their "
        "cameras: a target is rendered from the inputs."
    )


def _views(made: Rendered) -> Figures:
    pictures = []
    for view, rendering in zip(made.views, made.rendered, strict=True):
        both = [resize(view.image, smooth=True), resize(to_picture(rendering.rendering), smooth=True)]
        role = "input" if rendering.is_input else "target"
        caption = f"{view.name}, {role}: recorded, rendered"
        pictures.append(Picture(encode(strip(both), photograph=True), f"{view.name}, recorded and rendered", caption))
    return Figures("Recorded and rendered", tuple(pictures), size="small")


_MASKS = (
    "For each view: the outline where the probability of motion exceeds one half; that probability, predicted by the "
    "motion head; and the tokens of inputs that were removed from the scene (white). The head has also learned what "
    "tends to move, so it may mark objects that stand still."
)


def _masks(made: Rendered) -> Gallery:
    rows = []
    for view, rendering in zip(made.views, made.rendered, strict=True):
        assert rendering.probability is not None
        probability = rendering.probability.numpy()
        marked = outlined(view.image, (probability > 0.5).astype(np.uint8))
        tokens = None
        if rendering.replaced is not None:
            tokens = Picture(map_uri(mask_picture(rendering.replaced.numpy().astype(np.uint8))), "Removed tokens")
        rows.append(
            GalleryRow(
                f"{view.name}, {'input' if rendering.is_input else 'target'}: mean {probability.mean():.1%}",
                (
                    Picture(encode(marked, photograph=True), f"{view.name}, outlined"),
                    Picture(map_uri(heat(probability, 0.0, 1.0)), f"Motion probability of {view.name}"),
                    tokens,
                ),
            )
        )
    columns = (Column("above one half"), ramp("probability", 0.0, 1.0), Column("removed"))
    return Gallery("Masks", "1 = transient.", columns, tuple(rows))


def _path_text(made: Rendered) -> str:
    path, size = made.about["path"], made.about["image_size"]
    text = (
        f"{path['frames']} frames along a smooth path through the input cameras, 24 per second, {path['encoder']}. "
        "Positions follow a spline, rotations follow great arcs."
    )
    if size < LEAST_SIDE:
        text += f" The network renders {size} px; the video is enlarged by a whole factor."
    if path["encoder"] == ENCODERS[-1]:
        text += " This build of FFmpeg has no H.264 or VP9 encoder: only video players play this file, not browsers."
    return text


def _path(made: Rendered) -> list[Block]:
    payload = base64.b64encode(made.video.read_bytes()).decode()
    frames = strip([resize(frame, smooth=True) for frame in made.path_frames])
    still = Picture(
        encode(frames, photograph=True), "Frames of the path", "Evenly spread frames, from the first to the last."
    )
    return [
        Video("Path", f"data:video/mp4;base64,{payload}", "Camera path, the same as path.mp4 beside this page."),
        Figures("Frames of the path", (still,), size="strip"),
    ]


_PLUCKER = (
    "The network's input for a camera: for each pixel the moment o × d and the unit direction d of its ray, "
    "relative to the canonical view. Directions as colours (x red, y green, z blue, −1 to 1); the moment's length is "
    "the distance of the ray from the origin, 0 for the canonical view; the Klein residual |m·d| is 0 for a line, so "
    "larger values than rounding errors mean that these are no rays. Views of different passes have different scales."
)


def _rays(made: Rendered) -> Gallery:
    size = made.about["image_size"]
    rays = [plucker_rays(view.cameras, size, size)[0, 0].numpy() for view in made.rendered]
    longest = max(float(moment_length(ray).max()) for ray in rays) or 1.0
    columns = (Column("direction"), ramp("‖moment‖", 0.0, longest), ramp("Klein residual", 0.0, _KLEIN))
    rows = tuple(
        GalleryRow(_ray_label(view, ray), _ray_pictures(view.name, ray, longest))
        for view, ray in zip(made.views, rays, strict=True)
    )
    return Gallery("Rays of each view", "Moment lengths share one scale.", columns, rows)


def _ray_label(view: View, ray: Float[np.ndarray, "6 h w"]) -> str:
    moments = moment_length(ray)
    return (
        f"{view.name}: ‖moment‖ {moments.min():.3g} to {moments.max():.3g}, "
        f"largest Klein residual {klein_residual(ray).max():.1e}"
    )


def _ray_pictures(name: str, ray: Float[np.ndarray, "6 h w"], longest: float) -> tuple[Picture, ...]:
    return (
        Picture(map_uri(direction_picture(ray[3:])), f"Ray directions of {name}"),
        Picture(map_uri(heat(moment_length(ray), 0.0, longest)), f"Moment lengths of {name}"),
        Picture(map_uri(heat(klein_residual(ray), 0.0, _KLEIN)), f"Klein residual of {name}"),
    )
