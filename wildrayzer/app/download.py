"""Everything of a session in one zip file, with the command that makes it again."""

import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wildrayzer.app.command import checkpoint_name, command, masks_command
from wildrayzer.app.session import Session
from wildrayzer.app.text import TINY
from wildrayzer.tools.export.colmap import write_colmap
from wildrayzer.tools.export.export import Counts
from wildrayzer.tools.export.nerfstudio import POLARITY, write_nerfstudio
from wildrayzer.tools.export.pictures import write_image
from wildrayzer.tools.export.source import PREDICTED, Camera, ExportFrame
from wildrayzer.tools.render.video import write_video

_SCENE = "scene"


@dataclass
class SessionSource:
    """The recorded views of a session as a source of exports, with its masks and predicted cameras."""

    session: Session
    path: Path = Path("app")
    cameras: str = PREDICTED
    scenes: list[str] = field(default_factory=lambda: [_SCENE])

    @property
    def masks(self) -> str | None:
        """What the masks are; None without a trained motion head."""
        if self.session.predicted.masks is None:
            return None
        return f"motion head of {checkpoint_name(self.session)}, probability above {self.session.mask_threshold:g}"

    @property
    def digests(self) -> Mapping[str, str]:
        """Digest of the weights."""
        return {"weights": self.session.model.manifest.weights_digest}

    def read(self, scene: str) -> Iterator[ExportFrame]:
        """The views, in order; there is one scene."""
        predicted = self.session.predicted
        masks = None if predicted.masks is None else predicted.masks.at(self.session.mask_threshold).transient
        for number, image in enumerate(predicted.images):
            camera = Camera(
                predicted.cameras.c2w[number].astype(np.float64), predicted.cameras.intrinsics[number].astype(float)
            )
            yield ExportFrame(number, image, None if masks is None else masks[number].astype(np.uint8), camera)


def write_zip(session: Session, out: Path) -> Path:
    """Write recorded views, renderings, masks, path and cameras of a session as a zip file; returns its path.

    Raises:
        ValueError: nothing is rendered yet, or a predicted camera is broken.
    """
    views, scene = session.views, session.predicted
    if views is None:
        raise ValueError("nothing is rendered yet; press the button below the pictures")
    with tempfile.TemporaryDirectory(dir=out.parent) as name:
        folder = Path(name)
        for kind, images in (("recorded", scene.images), ("views", views.pixels)):
            _write_all(folder / kind, images)
        if scene.masks is not None:
            _write_all(folder / "masks", scene.masks.at(session.mask_threshold).transient.astype(np.uint8) * 255)
            _write_all(folder / "probability", (scene.masks.probability * 255).round().astype(np.uint8))
        if session.mask_steps is not None:
            _write_all(folder / "pseudo_masks", np.stack([one.pixels for one in session.mask_steps]) * np.uint8(255))
        if session.path is not None:
            write_video(folder / "path.mp4", iter(session.path.frames))
        source = SessionSource(session)
        for form, write in (("nerfstudio", write_nerfstudio), ("colmap", write_colmap)):
            write(source, [_SCENE], folder / form, Counts())
        (folder / "README.txt").write_text(_readme(session), encoding="utf-8")
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(folder.rglob("*")):
                packed.write(file, file.relative_to(folder))
    return out


def _write_all(folder: Path, images: np.ndarray) -> None:
    for number, image in enumerate(images):
        write_image(folder / f"{number:03d}.png", image)


def _readme(session: Session) -> str:
    manifest = session.model.manifest
    lines = [
        f"WildRayZer, {session.title}",
        f"Checkpoint: {checkpoint_name(session)}, stage {manifest.stage}, weights {manifest.weights_digest}",
        "",
        "recorded/     the pictures as the network saw them",
        "views/        the same views, rendered from the inputs",
    ]
    if session.predicted.masks is not None:
        lines += [
            f"masks/        white = transient: probability above {session.mask_threshold:g}",
            "probability/  probability of motion, 0 to 255",
        ]
    if session.mask_steps is not None:
        lines.append("pseudo_masks/ white = transient: made without the motion head")
    if session.path is not None:
        lines.append("path.mp4      a camera path through the inputs")
    lines += [
        "nerfstudio/   transforms.json with images",
        "colmap/       text model with images",
        f"Masks of these two: {POLARITY}." if session.predicted.masks is not None else "No masks: see below.",
        "",
        PREDICTED,
        "",
        f"Inputs: views {', '.join(f'{number:03d}' for number in sorted(session.predicted.inputs))}.",
        f"Patches with a mean probability above {session.gate_threshold:g} are kept out of the renderings."
        if session.gate_threshold is not None
        else f"Nothing is removed: the checkpoint {session.model.static_because}.",
        "",
        "The same again, in this folder:",
        command(session),
    ]
    if session.mask_steps is not None and session.model.image_size <= TINY:
        lines += ["", "The pseudo-masks again:", masks_command(session)]
    return "\n".join(lines) + "\n"
