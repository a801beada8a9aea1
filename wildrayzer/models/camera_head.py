"""From pose features to cameras (docs/network.md#camera-head)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.geometry.cameras import Cameras, rigid
from wildrayzer.geometry.rotations import nearest_rotation, rotation_from_6d, rotation_from_quaternion
from wildrayzer.models.camera_encoder import canonical_index
from wildrayzer.models.tokens import two_layers

HEAD_STD = 0.02
"""Initial standard deviation of last layers: untrained heads start near the identity and mid-grey."""
DEFAULT_FOCAL = 1.25
"""Focal length that an output of zero stands for, as a multiple of the image side."""
MIN_FIELD_OF_VIEW = 1e-6
"""Radians; the field of view has no upper limit, and from π on the focal length is negative, as in the original."""
_ROTATION_SIZE = {"6d": 6, "quaternion": 4}
_ONES = {"6d": slice(0, 6, 4), "quaternion": slice(0, 1)}
"""Entries of a rotation that are 1 in the identity; the others are 0."""
_ROTATION = {"6d": rotation_from_6d, "quaternion": rotation_from_quaternion}


class PredictedFocal(nn.Module):
    """One focal length a scene, from the features of the canonical view."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = two_layers(config.width, config.width, 1, std=config.init_std, last_std=HEAD_STD)

    def forward(self, canonical: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Focal length as a multiple of the image side."""
        return self.layers(canonical).float()[:, 0] + DEFAULT_FOCAL


class SharedFocal(nn.Module):
    """One learned focal length for all scenes. Differs from the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(1))

    def forward(self, canonical: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Focal length as a multiple of the image side."""
        return DEFAULT_FOCAL * self.log_scale.exp().expand(len(canonical))


class CameraHead(nn.Module):
    """Poses relative to the canonical view, which is exactly the identity, and one focal length for all views."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        std = 1 / math.sqrt(2 * config.width) if config.camera_encoder == "pairwise" else config.init_std
        size = _ROTATION_SIZE[config.pose] + 3
        self.relative = two_layers(2 * config.width, config.width, size, std=std, last_std=HEAD_STD)
        self.focal = PredictedFocal(config) if config.focal == "predicted" else SharedFocal()

    def forward(self, canonical: Float[Tensor, "b v d"], views: Float[Tensor, "b v d"]) -> Cameras:
        """Camera-to-world, OpenCV axes; fx = fy normalised by width and height, principal point in the centre."""
        batch, count = views.shape[:2]
        origin = canonical_index(self.config, count)
        # made on the device: a copy from the host would make it wait
        identity = torch.zeros(_ROTATION_SIZE[self.config.pose] + 3, device=views.device)
        identity[_ONES[self.config.pose]].fill_(1.0)
        # float32 whatever the autocast: rays magnify rounding
        pose = self.relative(torch.cat((canonical, views), dim=-1)).float() + identity
        away = torch.arange(count, device=views.device) != origin
        pose = torch.where(away[:, None], pose, identity)
        c2w = rigid(_ROTATION[self.config.pose](pose[..., :-3]), pose[..., -3:])
        focal = self.focal(canonical[:, origin])[:, None].expand(batch, count)
        centre = torch.full_like(focal, 0.5)
        return Cameras(c2w=c2w, intrinsics=torch.stack((focal, focal, centre, centre), dim=-1))


class Pi3Head(nn.Module):
    """Cameras in a free frame from image tokens, and one field of view per scene (Open-RayZer, after Pi3).

    Permuting the views permutes the poses. Layers keep torch's initial weights. Differs from the paper.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.refine = nn.ModuleList(_relu_layers(width, 3) for _ in range(2))
        self.pose = _relu_layers(width, 2)
        self.translation = nn.Linear(width, 3)
        self.rotation = nn.Linear(width, 9)
        self.view = _relu_layers(width, 2)
        self.field_of_view = nn.Linear(width, 1)

    def forward(self, tokens: Float[Tensor, "b v n d"]) -> Cameras:
        """Camera-to-world, OpenCV axes; fx = fy from the field of view, principal point in the centre."""
        for layers in self.refine:
            tokens = tokens + layers(tokens)
        views = tokens.mean(2)
        scene, pose = self.view(views.mean(1)), self.pose(views)
        # float32 whatever the autocast: rays magnify rounding
        with torch.autocast(tokens.device.type, enabled=False):
            angle = functional.softplus(self.field_of_view(scene.float())).clamp(min=MIN_FIELD_OF_VIEW)
            rotation = nearest_rotation(self.rotation(pose.float()).unflatten(-1, (3, 3)))
            c2w = rigid(rotation, self.translation(pose.float()))
        focal = (0.5 / (angle / 2).tan()).expand(views.shape[:2])
        centre = torch.full_like(focal, 0.5)
        return Cameras(c2w=c2w, intrinsics=torch.stack((focal, focal, centre, centre), dim=-1))


def _relu_layers(width: int, number: int) -> nn.Sequential:
    """Linear layers, each followed by a ReLU."""
    return nn.Sequential(*(layer for _ in range(number) for layer in (nn.Linear(width, width), nn.ReLU())))
