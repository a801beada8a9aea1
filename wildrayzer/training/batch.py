"""A micro-batch as the objective takes it, and how samples become one."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wildrayzer.geometry.cameras import Cameras


@dataclass(frozen=True)
class Batch:
    """One micro-batch. Views are ordered inputs first; 1 = transient."""

    images: Float[Tensor, "b v 3 h w"]
    """What the network sees, in [0, 1]."""
    truth: Float[Tensor, "b t 3 h w"]
    """What the renderings are compared with: the target frames, without pasted objects."""
    motion: Float[Tensor, "b v 1 h w"]
    """Motion labels; meaningless where `supervised` is 0."""
    supervised: Float[Tensor, "b v"]
    """1 where a view's label trains the motion head."""
    gate: Float[Tensor, "b t 1 h w"]
    """Pixels of the targets that move, which are kept out of the photometric loss."""
    dynamic: Bool[Tensor, " b"]
    """Samples of the dynamic split."""
    token_mask: Bool[Tensor, "b k n"] | None = None
    """Input tokens to replace beside those that the motion head chooses."""
    crop_views: Int[Tensor, " b"] | None = None
    """View of each sample that the crop pretext takes, while it lasts."""
    crop_offsets: Float[Tensor, "b 2 2"] | None = None
    """Centres of its two crops."""
    c2w: Float[Tensor, "b v 4 4"] | None = None
    """True camera-to-world matrices (OpenCV axes), normalised for each sample, where the network is given cameras."""
    intrinsics: Float[Tensor, "b v 4"] | None = None
    """Their intrinsics, normalised by width and height."""

    @property
    def num_inputs(self) -> int:
        """Input views of every sample."""
        return self.images.shape[1] - self.truth.shape[1]

    @property
    def cameras(self) -> Cameras | None:
        """True cameras of all views, where the network is given them."""
        if self.c2w is None or self.intrinsics is None:
            return None
        return Cameras(c2w=self.c2w, intrinsics=self.intrinsics)

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, from which copies to a GPU run beside its work."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        tensors: dict[str, Tensor | None] = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items() if tensor is not None})

    def filter_metrics(self) -> dict[str, Tensor]:
        """Shares of the views that are dynamic, and that are dynamic and supervise the motion head."""
        dynamic = self.dynamic.float()[:, None].expand_as(self.supervised)
        return {"dynamic_views": dynamic.mean(), "passing_views": (dynamic * self.supervised).mean()}


@dataclass(frozen=True)
class Sample:
    """One sample before it joins a batch; arrays as they come from the stores, inputs first."""

    images: np.ndarray
    """uint8 [v h w 3]: what the network sees."""
    truth: np.ndarray
    """uint8 [t h w 3]: the target frames, without pasted objects."""
    motion: np.ndarray
    """uint8 [v h w]: 1 = transient, 255 = not computed."""
    supervised: np.ndarray
    """float32 [v]: 1 where the view's label trains the motion head."""
    dynamic: bool
    """Whether it comes from the dynamic split, whose moving pixels are kept out of the loss."""
    cameras: tuple[np.ndarray, np.ndarray] | None = None
    """float32 c2w [v 4 4] and intrinsics [v 4], where the network is given cameras."""


def collate(samples: list[Sample], inputs: int) -> Batch:
    """Samples as one micro-batch, on the CPU; the first `inputs` views are inputs."""

    def pictures(name: str) -> Tensor:
        stacked = np.stack([getattr(sample, name) for sample in samples])
        return torch.from_numpy(stacked).permute(0, 1, 4, 2, 3).float().div_(255.0).contiguous()

    motion = torch.from_numpy(np.stack([sample.motion for sample in samples]))[:, :, None]
    dynamic = torch.tensor([sample.dynamic for sample in samples])
    # A frame whose mask was not computed (255) keeps all its pixels.
    gate = (motion[:, inputs:] == 1) & dynamic[:, None, None, None, None]
    given = [sample.cameras for sample in samples if sample.cameras is not None]
    c2w, intrinsics = (torch.from_numpy(np.stack(one)) for one in zip(*given, strict=True)) if given else (None, None)
    return Batch(
        images=pictures("images"),
        truth=pictures("truth"),
        motion=motion.float(),
        supervised=torch.from_numpy(np.stack([sample.supervised for sample in samples])),
        gate=gate.float(),
        dynamic=dynamic,
        c2w=c2w,
        intrinsics=intrinsics,
    )
