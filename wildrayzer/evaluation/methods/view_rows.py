"""A row of the view-synthesis tables, opened: its network, its files, and renderings of batches."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.config.sections.benchmark import CosegConfig
from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.evaluation.methods.aligned import sees_only_its_own_views, transferred_cameras
from wildrayzer.evaluation.methods.external import ExternalFiles
from wildrayzer.evaluation.methods.input_masks import coseg_masks, file_masks
from wildrayzer.evaluation.methods.render_method import head_features, load_backbone, render_method, shown_images
from wildrayzer.evaluation.window_batches import WindowBatch
from wildrayzer.geometry.cameras import Cameras
from wildrayzer.models import ViewSynthesis, WildRayZer
from wildrayzer.pseudo_masks.backbones.build import build_backbone
from wildrayzer.pseudo_masks.backbones.interface import FeatureBackbone
from wildrayzer.run.row_specs import RowSpec


@dataclass(frozen=True)
class GateInputs:
    """What a batch's inputs are gated by; all renderings of the batch share it."""

    masks: UInt8[np.ndarray, "b k h w"] | None = None
    """Masks of the inputs, 1 = transient, for the gates `coseg` and `file`."""
    features: Float[Tensor, "b k fh fw c"] | None = None
    """Features of the inputs, for a motion head that uses them."""


@dataclass(frozen=True)
class ViewRow:
    """What one row of the tables renders with."""

    method: str
    """Name of the row."""
    spec: RowSpec
    """How it renders."""
    model: WildRayZer | None
    """Its network, if it has one."""
    backbone: FeatureBackbone | None
    """For its motion head or for co-segmentation."""
    files: ExternalFiles | None
    """Its masks or finished renderings."""
    coseg: CosegConfig
    """The `benchmark.coseg` section."""
    trained: tuple[int, ...] | None = None
    """Numbers of input views that the checkpoint was trained with; None without a network."""
    digests: dict[str, str] = field(default_factory=dict)
    """What it was made from, for the manifest."""

    @classmethod
    def open(
        cls,
        method: str,
        spec: RowSpec,
        *,
        checkpoint_dir: str | Path | None,
        files: ExternalFiles | None,
        features: FeaturesConfig,
        coseg: CosegConfig,
        device: str | torch.device,
    ) -> "ViewRow":
        """Load what the row needs.

        Raises:
            ValueError: the checkpoint or the files that it needs are not named.
        """
        if spec.entry is not None and spec.stage != "external" and files is None:
            raise ValueError(f"row {method} reads files; name their folder")
        if spec.stage is None:
            return cls(method, spec, None, None, files, coseg, digests={} if files is None else files.digests)
        if checkpoint_dir is None:
            raise ValueError(f"method {method} renders with the {spec.stage} checkpoint; name its folder")
        model, about = load_checkpoint(checkpoint_dir, device=device)
        model.eval()
        digests = {"checkpoint": about.weights_digest, "checkpoint_stage": about.stage}
        backbone = None
        if spec.gate == "own":
            backbone = load_backbone(model, features, device)
            digests["backbone"] = backbone.name if backbone else "none"
        elif spec.gate == "coseg":
            backbone = build_backbone(features, patch_size=model.config.patch_size, device=device)
            digests["backbone"] = backbone.name
        elif files is not None:
            digests |= files.digests
        return cls(method, spec, model, backbone, files, coseg, about.inputs, digests)

    @property
    def takes_cameras(self) -> bool:
        """Whether the network renders with the true cameras."""
        return self.model is not None and self.model.config.cameras == "given"

    def precision(self, renderings: str, features: FeaturesConfig) -> str:
        """Arithmetic of the row's network and of its features, in words; `none` for files and copied frames."""
        if self.model is None:
            return "none"
        separate = self.backbone is not None and features.has_weights and features.precision != renderings
        return f"{renderings}, features in {features.precision}" if separate else renderings

    @torch.no_grad()
    def gate_inputs(self, batch: WindowBatch) -> GateInputs:
        """Masks or features of a batch's inputs.

        Raises:
            ValueError: broken files, or files of another size.
        """
        if self.spec.finished or self.model is None:
            return GateInputs()
        if self.spec.gate == "own":
            inputs = shown_images(batch, self.spec)[:, : batch.num_inputs]
            return GateInputs(features=head_features(self.model, inputs, self.backbone))
        if self.spec.gate == "coseg":
            assert self.backbone is not None
            return GateInputs(coseg_masks(batch, self.backbone, self.coseg))
        if self.spec.gate == "file":
            assert self.files is not None
            return GateInputs(file_masks(batch, self.files))
        return GateInputs()

    def render(self, batch: WindowBatch, gate: GateInputs) -> tuple[Float[Tensor, "b t 3 h w"], ViewSynthesis | None]:
        """Renderings of a batch's targets in [0, 1], and the network's whole output where there is a network.

        Args:
            batch: windows.
            gate: of `gate_inputs`.

        Raises:
            ValueError: broken files, or files of another size.
        """
        if self.spec.finished:
            return self._read(batch), None
        return self._render(batch, gate)

    def _render(
        self, batch: WindowBatch, gate: GateInputs, *, aligned: bool = False, cameras: Cameras | None = None
    ) -> tuple[Float[Tensor, "b t 3 h w"], ViewSynthesis | None]:
        return render_method(
            self.method, batch,
            model=self.model, backbone=self.backbone, spec=self.spec, masks=gate.masks, features=gate.features,
            aligned=aligned, cameras=cameras,
        )  # fmt: skip

    def render_aligned(
        self, batch: WindowBatch, gate: GateInputs, ordinary: Float[Tensor, "b t 3 h w"]
    ) -> Float[Tensor, "b t 3 h w"] | None:
        """Renderings with input cameras that the targets cannot leak into; None for a row without predicted cameras.

        Args:
            batch: windows.
            gate: of `gate_inputs`.
            ordinary: renderings of `render`, which these are by construction where no target moves an input's camera.

        Returns:
            Renderings in [0, 1], NaN for windows whose input cameras coincide.
        """
        if self.model is None or self.spec.finished or self.takes_cameras or batch.num_inputs < 2:
            return None
        return ordinary if sees_only_its_own_views(self.model) else self._render(batch, gate, aligned=True)[0]

    def render_transferred(
        self, batch: WindowBatch, gate: GateInputs, twins: Float[Tensor, "b v 3 h w"]
    ) -> Float[Tensor, "b t 3 h w"] | None:
        """Renderings in [0, 1] with the cameras of twins; None for a row without predicted cameras.

        Args:
            batch: windows.
            gate: of `gate_inputs`.
            twins: of `TwinClips.images`.
        """
        if self.model is None or self.spec.finished or self.takes_cameras:
            return None
        return self._render(batch, gate, cameras=transferred_cameras(self.model, twins, batch.num_inputs))[0]

    def _read(self, batch: WindowBatch) -> Float[Tensor, "b t 3 h w"]:
        assert self.files is not None
        size, targets = batch.images.shape[-1], batch.frames[:, batch.num_inputs :]
        renderings = [
            self.files.renderings(scene, frames.tolist(), size=size)
            for scene, frames in zip(batch.scenes, targets, strict=True)
        ]
        return torch.from_numpy(np.stack(renderings)).permute(0, 1, 4, 2, 3).to(batch.images.device)
