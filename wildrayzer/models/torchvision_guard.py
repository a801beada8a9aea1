"""Makes `import torchvision` work where its compiled operators cannot be loaded.

torchvision 0.28.0 is published only as a CUDA build. With a CPU build of torch its shared library does not load, and
its Python part then fails with "operator torchvision::nms does not exist". transformers looks for torchvision, so it
needs these operators declared first.
"""

import importlib.util
import sys
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# The declarations of a torch.library.Library end with the object, so it is kept.
_declared: list[torch.library.Library] = []


def ensure_torchvision() -> None:
    """Declare `torchvision::nms` and `torchvision::qnms` if torchvision's own library cannot be loaded.

    Call it before the first import of transformers or torchvision; calling it again costs nothing. The operators
    are declared, not implemented: calling one still fails, and nothing in this package does.
    """
    if _declared or "torchvision" in sys.modules:
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _library_loads(Path(spec.origin).parent):
        return
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)


def _library_loads(folder: Path) -> bool:
    """Whether torchvision's compiled operators (`_C.so`) can be loaded with this torch."""
    for path in sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(path)
        except OSError:
            continue
        return True
    return False
