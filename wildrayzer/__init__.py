"""WildRayZer: novel view synthesis of dynamic scenes, learned without labels.

The names of the Python API (docs/python.md) are loaded when they are first used, so that importing the package and the
help of its commands stay fast.
"""

import importlib
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING, Any

from wildrayzer import pseudo_masks as _pseudo_masks

if TYPE_CHECKING:
    from wildrayzer.api.arrays import MotionMasks, Renderings, ViewCameras
    from wildrayzer.api.frames import FrameDataset, open_frames
    from wildrayzer.api.masks import VideoPseudoMasks, open_masks, pseudo_masks
    from wildrayzer.api.model import Model, load
    from wildrayzer.api.scene import Scene

try:
    __version__ = version("wildrayzer")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0.1.0"

_MODULES = {
    "FrameDataset": "frames",
    "Model": "model",
    "MotionMasks": "arrays",
    "Renderings": "arrays",
    "Scene": "scene",
    "VideoPseudoMasks": "masks",
    "ViewCameras": "arrays",
    "load": "model",
    "open_frames": "frames",
    "open_masks": "masks",
}
"""Names of the API, and their modules in `wildrayzer.api`; `pseudo_masks` is below."""
__all__ = [
    "FrameDataset",
    "Model",
    "MotionMasks",
    "Renderings",
    "Scene",
    "VideoPseudoMasks",
    "ViewCameras",
    "load",
    "open_frames",
    "open_masks",
    "pseudo_masks",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"wildrayzer.api.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CallablePackage(ModuleType):
    """`wildrayzer.pseudo_masks` names a package and a function of the API; this makes the package callable as well."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Pseudo-masks of videos, see `wildrayzer.api.masks.pseudo_masks`."""
        from wildrayzer.api.masks import pseudo_masks

        return pseudo_masks(*arguments, **options)


_pseudo_masks.__class__ = _CallablePackage
