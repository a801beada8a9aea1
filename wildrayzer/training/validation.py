"""Held-out metrics of a renderer during training, beside two shortcuts that can mimic success."""

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.views import evaluation_windows
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.images.nearest import nearest_view
from wildrayzer.images.psnr import CAP, psnr
from wildrayzer.models import WildRayZer

_COLUMNS = 3
_ARROW = 0.15
"""Length of a viewing direction, as a share of the path's extent."""
_WINDOWS = 32
_SHOWN = 6


class Validation:
    """PSNR on fixed windows of a static split, with baselines, and what the poses contribute.

    Args:
        store: held-out static clips.
        inputs: input views.
        targets: target views.
        min_distance: least distance of the end frames.
        at_once: windows that are rendered together: a micro-batch fits the device.
        pictures: folder for contact sheets and camera paths.
        device: where the model is.
    """

    def __init__(
        self,
        store: FrameStore,
        *,
        inputs: int,
        targets: int,
        min_distance: int,
        at_once: int,
        pictures: Path,
        device: torch.device,
    ) -> None:
        windows = evaluation_windows(
            store,
            inputs=inputs,
            targets=targets,
            min_distance=min_distance,
            seed=0,
            distance_option="views.min_distance",
        )[:_WINDOWS]
        self.numbers = np.array([[*window.inputs, *window.targets] for window in windows])
        starts = np.array([store.offsets[window.scene] for window in windows])
        frames = store.read((self.numbers + starts[:, None]).ravel()).reshape(*self.numbers.shape, *store.frame_shape)
        self.images = torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float().div(255.0).to(device)
        self.inputs, self.at_once = inputs, at_once
        self.cameras = _true_cameras(store, self.numbers + starts[:, None]) if store.has_cameras else None
        self.pictures = pictures

    @torch.no_grad()
    def __call__(self, model: WildRayZer, step: int) -> dict[str, float]:
        """Metrics of the model, in dB.

        `pose_use` is the PSNR lost when every target is rendered with another target's pose: near 0, the renderer
        ignores its poses. `above_nearest` and `above_mean` compare with copying the nearest input view and with the
        target's mean colour.
        """
        truth = self.images[:, self.inputs :]
        others = [*range(self.inputs), *np.roll(range(self.inputs, self.images.shape[1]), 1).tolist()]
        parts = []
        for begin in range(0, len(self.images), self.at_once):
            part = slice(begin, begin + self.at_once)
            result = model(self.images[part], self.inputs, cameras=self._given(model, part))
            again = model(self.images[part], self.inputs, cameras=result.cameras.select(others))
            parts.append((result.render, again.render, result.cameras.c2w))
        render, swapped, c2w = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        quality = _psnr(render, truth)
        self._draw(render, step)
        draw_camera_paths(
            self.pictures / f"cameras-{step:09d}.png",
            c2w[:_SHOWN].float().cpu().numpy(),
            self.numbers[:_SHOWN],
            inputs=self.inputs,
            title=f"predicted cameras from above, step {step}",
        )
        return {
            "psnr": quality,
            "above_nearest": quality - _psnr(self._nearest(), truth),
            "above_mean": quality - _psnr(truth.mean((3, 4), keepdim=True).expand_as(truth), truth),
            "pose_use": quality - _psnr(swapped, truth),
            "camera_spread": c2w[:, 1:, :3, 3].flatten(0, 1).std(0).norm().item(),
        }

    def _given(self, model: WildRayZer, part: slice) -> Cameras | None:
        """True cameras of some windows for a network that is given them."""
        if model.config.cameras == "predicted":
            return None
        if self.cameras is None:
            raise ValueError("model.cameras: given, but the validation split has no cameras; use one that has them")
        return Cameras(self.cameras.c2w[part], self.cameras.intrinsics[part]).to(self.images.device)

    def _nearest(self) -> Float[Tensor, "b t 3 h w"]:
        chosen = nearest_view(self.numbers[:, : self.inputs], self.numbers[:, self.inputs :])
        nearest = torch.from_numpy(chosen).to(self.images.device)
        return self.images[torch.arange(len(nearest), device=nearest.device)[:, None], nearest]

    def _draw(self, render: Float[Tensor, "b t 3 h w"], step: int) -> None:
        """Contact sheet with one row per window: inputs, then every target above its rendering."""
        rows = []
        for images, rendered in zip(self.images[:_SHOWN].cpu(), render[:_SHOWN].cpu(), strict=True):
            top = torch.cat(list(images), dim=-1)
            bottom = torch.cat([torch.ones_like(images[0])] * self.inputs + list(rendered), dim=-1)
            rows.append(torch.cat([top, bottom], dim=-2))
        sheet = (torch.cat(rows, dim=-2).permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()
        self.pictures.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(self.pictures / f"validation-{step:09d}.png"), sheet[..., ::-1])


def _true_cameras(store: FrameStore, frames: Int[np.ndarray, "s v"]) -> Cameras:
    c2w, intrinsics = (
        torch.from_numpy(one).float().unflatten(0, frames.shape) for one in store.cameras(frames.ravel())
    )
    return Cameras(c2w=c2w, intrinsics=intrinsics)


def _psnr(prediction: Tensor, truth: Tensor) -> float:
    """Mean PSNR in dB. A log line needs a finite number, so equal images count as `CAP`."""
    return float(psnr(prediction.float(), truth).clamp(max=CAP).mean())


def draw_camera_paths(
    path: Path, c2w: Float[np.ndarray, "s v 4 4"], frames: Int[np.ndarray, "s v"], *, inputs: int, title: str
) -> None:
    """Write a PNG with one panel per window: camera centres in frame order and where each camera looks.

    The axes are x (right) and z (forward) of the canonical camera, in the scene units that the renderer chose; they are
    the same in both directions, but each panel has its own scale.

    Args:
        path: of the picture; its folder is made.
        c2w: predicted camera-to-world of `v` views, inputs first, OpenCV axes.
        frames: their frame numbers.
        inputs: input views.
        title: above the panels.
    """
    from matplotlib.figure import Figure

    rows = -(-len(c2w) // _COLUMNS)
    figure = Figure(figsize=(3.0 * _COLUMNS, 2.8 * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = np.asarray(figure.subplots(rows, _COLUMNS, squeeze=False)).ravel()
    for panel in panels[len(c2w) :]:
        panel.set_axis_off()
    for number, (panel, poses, numbers) in enumerate(zip(panels, c2w, frames, strict=False)):
        centres, forward = poses[:, [0, 2], 3], poses[:, [0, 2], 2]
        order = np.argsort(numbers)
        panel.plot(*centres[order].T, color="#bbbbbb", linewidth=1, zorder=1)
        reach = max(float(np.ptp(centres, axis=0).max()), 1e-6)
        tips = centres + _ARROW * reach * forward
        panel.plot(
            np.stack([centres[:, 0], tips[:, 0]]), np.stack([centres[:, 1], tips[:, 1]]), color="#767676", lw=0.8
        )
        panel.scatter(*centres[:inputs].T, marker="s", s=22, color="#0068a8", label="inputs", zorder=2)
        panel.scatter(*centres[inputs:].T, marker="o", s=18, color="#d55e00", label="targets", zorder=2)
        for centre, frame in zip(centres, numbers, strict=True):
            panel.annotate(str(frame), centre, xytext=(3, 3), textcoords="offset points", fontsize=6)
        panel.set_aspect("equal", adjustable="datalim")
        panel.tick_params(labelsize=6)
        panel.set_title(f"window {number}", fontsize=8)
    panels[0].legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
