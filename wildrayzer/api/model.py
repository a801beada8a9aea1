"""Models: checkpoints loaded for rendering."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wildrayzer.api.arrays import Renderings
from wildrayzer.api.hub import fetch_checkpoint, push_checkpoint
from wildrayzer.api.images import Pictures, read_pictures
from wildrayzer.api.scene import Scene
from wildrayzer.checkpoint import CheckpointManifest, load_checkpoint
from wildrayzer.config.sections.features import is_hub_id
from wildrayzer.evaluation.methods.unposed import observe_views
from wildrayzer.io.shipped import BUNDLED_MODEL
from wildrayzer.models import WildRayZer
from wildrayzer.models.precision import keep_float32
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.tools.render.checks import RenderOptions, head_backbone, pick_inputs, why_static
from wildrayzer.training.distributed import pick_device


class Model:
    """A checkpoint, loaded for rendering. Made by `load`.

    Attributes:
        network: the network in eval mode, without gradients.
        manifest: what the checkpoint is and where it comes from.
        folder: folder of the checkpoint.
        device: where it computes.
    """

    def __init__(
        self, network: WildRayZer, manifest: CheckpointManifest, folder: Path, device: torch.device | str
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.manifest, self.folder, self.device = manifest, folder, torch.device(device)
        self._backbones: dict[tuple[str | None, bool], tuple[FeatureBackbone | None, str | None]] = {}

    @property
    def image_size(self) -> int:
        """Side of the square views, pixels."""
        return self.manifest.model.image_size

    @property
    def input_counts(self) -> list[int]:
        """Numbers of input views that it was trained with."""
        return sorted(set(self.manifest.inputs))

    @property
    def static_because(self) -> str | None:
        """Why it predicts no motion, so that what moves stays in the renderings; None if it does predict motion."""
        return why_static(self.manifest)

    @property
    def gate_threshold(self) -> float | None:
        """Patches with a higher mean probability of motion are kept out of renderings; None if it predicts none."""
        head = self.manifest.model.motion_head
        return None if head is None or self.static_because else head.threshold

    def scene(
        self,
        images: Pictures,
        *,
        inputs: int | None = None,
        frames: int = 10,
        backbone: str | None = None,
        force: bool = False,
    ) -> Scene:
        """Predict cameras and motion of some pictures. Views, paths and other thresholds are then rendered from it.

        Args:
            images: two or more pictures of a scene, or a video; see `wildrayzer.api.images`. The shorter side is
                resized to `image_size` (Lanczos) and the centre square is kept.
            inputs: number of input views, evenly spread over the pictures; the others are targets, which contribute
                only their cameras. None takes the largest number that the model was trained with, if there are as many
                pictures.
            frames: number of frames to take from a video, evenly spread.
            backbone: folder of the DINOv3 model, for motion heads that use it; None takes what the checkpoint names.
            force: allow numbers of inputs and features that the model was not trained with; `Scene.warnings` says so.

        Raises:
            ValueError: unusable pictures, a number of inputs that the model was not trained with, missing or other
                features, or a network whose cameras must be given.
        """
        views = read_pictures(images, image_size=self.image_size, frames=frames)
        options = RenderOptions(inputs=inputs, backbone=backbone, force=force)
        chosen, warnings = pick_inputs(self.folder, self.manifest, len(views), options)
        features = None
        if not self.static_because:
            features, warning = self._backbone(options)
            warnings += [warning] if warning else []
        observed = observe_views(
            self.network, np.stack([view.image for view in views]), chosen, targets=self.manifest.targets,
            backbone=features, gated=not self.static_because, device=self.device,
        )  # fmt: skip
        return Scene(self, views, chosen, observed, warnings)

    def render(
        self,
        images: Pictures,
        *,
        inputs: int | None = None,
        frames: int = 10,
        backbone: str | None = None,
        force: bool = False,
        threshold: float | None = None,
    ) -> Renderings:
        """Every picture rendered without what moves, with its mask and camera.

        This is `scene(images, …).render(threshold=threshold)`; see both.
        """
        scene = self.scene(images, inputs=inputs, frames=frames, backbone=backbone, force=force)
        return scene.render(threshold=threshold)

    @classmethod
    def from_pretrained(cls, source: str, **options: Any) -> "Model":
        """`load`, under the name that other libraries have."""
        return load(source, **options)

    def push_to_hub(
        self,
        repository: str,
        *,
        licence: str,
        private: bool = True,
        notes: str | None = None,
        token: str | None = None,
    ) -> str:
        """Upload the checkpoint with a model card; see `wildrayzer.api.hub.push_checkpoint`.

        Args:
            repository: OWNER/NAME; made when it is missing.
            licence: of the weights, as the hub names licences: `apache-2.0`, `cc-by-nc-sa-4.0`, ….
            private: whether a new repository is private.
            notes: text for the card.
            token: with write access; None takes HF_TOKEN or that of `hf auth login`.

        Returns:
            The commit: a revision to pin.

        Raises:
            ValueError: no access, or a repository that holds something else.
        """
        return push_checkpoint(self.folder, repository, licence=licence, private=private, notes=notes, token=token)

    def _backbone(self, options: RenderOptions) -> tuple[FeatureBackbone | None, str | None]:
        """`head_backbone`, loaded only once."""
        key = options.backbone, options.force
        if key not in self._backbones:
            self._backbones[key] = head_backbone(self.folder, self.manifest, options, self.device)
        return self._backbones[key]


def load(
    source: str | os.PathLike[str] | None = None,
    *,
    device: str = "auto",
    revision: str | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> Model:
    """Load a checkpoint for rendering.

    Args:
        source: folder of a checkpoint in our format, such as `results/demo/round1/joint/checkpoint`; or OWNER/NAME on
            the Hugging Face hub, if there is no folder of this name. None loads the small model of the
            package, with masks.
        device: `cpu`, `cuda`, or `auto`: CUDA if there is a device.
        revision: branch, tag or commit of the hub; a full commit that is in the hub's cache needs no connection.
        token: of the hub; None takes HF_TOKEN or that of `hf auth login`.
        local_files_only: take what is in the hub's cache, without a connection.

    Raises:
        ValueError: no checkpoint, a damaged one, or no such device; for the hub, see `wildrayzer.api.hub`.
    """
    keep_float32()
    where = pick_device(device)
    folder = BUNDLED_MODEL if source is None else Path(source)
    if not folder.exists() and is_hub_id(str(source)):
        folder = fetch_checkpoint(str(source), revision=revision, token=token, local_files_only=local_files_only)
    elif revision is not None:
        raise ValueError(f"{folder} is a folder and has no revision {revision!r}; leave revision out")
    network, manifest = load_checkpoint(folder, device=where)
    return Model(network, manifest, folder, where)
