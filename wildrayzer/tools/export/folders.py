"""Sources that are folders of other commands: own videos with masks (`masks run`), and own views (`render`)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from wildrayzer.data.readers.base import BadSceneError
from wildrayzer.data.readers.pixels import decode_file, read_numbers
from wildrayzer.images import UNKNOWN
from wildrayzer.io.digests import digest_json
from wildrayzer.io.validated import read_validated
from wildrayzer.report.run_files import MaskFiles
from wildrayzer.tools.export.source import PREDICTED, RENDER, Camera, ExportFrame
from wildrayzer.tools.video_masks.export import TRANSIENT, UNSEEN, clip_frames, full_mask
from wildrayzer.tools.video_masks.workspace import SPLIT, Workspace

_RENDER_AGAIN = "run `wildrayzer render` again, into another folder"


class VideoSource:
    """Clips of a folder of `masks run`: frames in their recorded size, with refined masks.

    Raises:
        ValueError: the folder has no finished masks.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.cameras, self._workspace = path, None, Workspace(path)
        files = MaskFiles.open(self._workspace.layout, self._workspace.config(), SPLIT)
        if files is None or files.pixels is None:
            raise ValueError(f"{path} has no masks yet; repeat the `masks run` that was interrupted")
        self._files, self._pixels = files, files.pixels
        self.scenes = list(files.store.scenes)
        self.masks = "refined pseudo-masks of the central square; all outside of it is unknown"
        self.digests: Mapping[str, str] = {"store": files.store.digest, "pixel_masks": files.pixels.digest}

    def read(self, scene: str) -> Iterator[ExportFrame]:
        """The frames of a clip, in order."""
        for number, frame in enumerate(clip_frames(self._workspace, self._files, scene)):
            image = np.asarray(decode_file(frame.image))
            values = full_mask(self._pixels.read(np.array([frame.number]))[0], *image.shape[:2])
            mask = np.select([values == TRANSIENT, values == UNSEEN], [1, UNKNOWN], 0).astype(np.uint8)
            yield ExportFrame(number, image, mask, None)


class _View(BaseModel, extra="allow"):
    input: bool
    c2w: list[list[float]]
    c2w_common: list[list[float]] | None = None
    fxfycxcy: list[float]


class _Render(BaseModel):
    """What `render.json` says; the first versions recorded no number of targets."""

    checkpoint: str
    weights_digest: str
    masks: bool
    targets: int | None
    views: list[_View]


class RenderSource:
    """The views of a folder of `render`: recorded pictures as the network saw them, or its renderings.

    Args:
        path: the folder.
        rendered: take the renderings, without what moves and therefore without masks.

    Raises:
        ValueError: the folder is damaged, lacks the pictures, or its cameras have no common frame of reference.
    """

    def __init__(self, path: Path, *, rendered: bool = False) -> None:
        self.path, self._rendered = path, rendered
        about = read_validated(path / RENDER, _Render, fix=_RENDER_AGAIN)
        self._views, self.scenes = about.views, [path.resolve().name]
        self._pictures = path / ("renderings" if rendered else "recorded")
        if not self._pictures.is_dir():
            raise ValueError(
                f"{path} has no folder {self._pictures.name}, since an earlier version made it; {_RENDER_AGAIN}, or "
                "export the renderings with --rendered"
            )
        self.masks = None
        if about.masks and not rendered:
            self.masks = f"motion head of {about.checkpoint}, probability above one half"
        what = "Images are renderings. " if rendered else ""
        self.cameras = f"{what}{PREDICTED} Checkpoint: {about.checkpoint}."
        self.digests: Mapping[str, str] = {
            "weights": about.weights_digest, "views": digest_json(about.model_dump(exclude_unset=True)["views"]),
        }  # fmt: skip
        self._c2w = _common_frame(about, path)

    def read(self, scene: str) -> Iterator[ExportFrame]:
        """The views, in order; `scene` is the folder's name."""
        for number, view in enumerate(self._views):
            name = f"{number:03d}.png"
            try:
                image = np.asarray(decode_file(self._pictures / name))
                probability = read_numbers(self.path / "masks" / name) if self.masks else None
            except BadSceneError as error:
                raise ValueError(f"{error.detail}; {_RENDER_AGAIN}") from None
            mask = None if probability is None else (probability > 127).astype(np.uint8)
            camera = Camera(np.asarray(self._c2w[number], np.float64), np.asarray(view.fxfycxcy, np.float64))
            yield ExportFrame(number, image, mask, camera)


def _common_frame(about: _Render, path: Path) -> list[list[list[float]]]:
    """Camera-to-world of every view in the frame of reference of the first pass.

    Raises:
        ValueError: views of several passes without a similarity between them.
    """
    views = about.views
    inputs = sum(view.input for view in views)
    # A pass takes as many other views as in training, or all of them.
    if about.targets is None or len(views) - inputs <= about.targets:
        return [view.c2w for view in views]
    common = [view.c2w_common for view in views if view.c2w_common is not None]
    if len(common) == len(views):
        return common
    raise ValueError(
        f"{path}: the cameras of {len(views)} views come from several passes of the network and have no common frame "
        f"of reference; render at most {inputs + about.targets} views with {inputs} inputs, or 2 inputs or more"
    )
