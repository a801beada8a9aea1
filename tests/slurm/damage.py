"""Files damaged between two stages: cut short, or one bit turned; what reads them must refuse them by name.

A damage is *named* when the reader refuses it and says which artefact, *harmless* when everything read is unchanged (a
byte that carries no content, or, for a resume state, the state before it), and *silent* otherwise.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.data.store import FrameStore
from wildrayzer.layout import RunLayout
from wildrayzer.motion.cache import PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.training.state import ResumeFolder

RUN = RunLayout("tiny")
MASKS = "dynamic_train"


def _read_store(path: Path) -> list[bytes]:
    store = FrameStore(path)
    everything = np.arange(store.num_frames)
    parts = [store.read(everything).tobytes(), store.offsets.tobytes()]
    return [*parts, *(part.tobytes() for part in store.cameras(everything))]


def _read_residuals(path: Path) -> list[bytes]:
    maps = ResidualMaps(path)
    return [maps.all(name).tobytes() for name in ("d_dino", "d_ssim", "clusters", "psnr", "window", "offsets")]


def _read_patches(path: Path) -> list[bytes]:
    masks = PatchMasks(path)
    return [masks.all("mask").tobytes(), masks.offsets.tobytes()]


def _read_pixels(path: Path) -> list[bytes]:
    masks = PixelMasks(path)
    return [masks.read(np.arange(masks.num_frames)).tobytes(), masks.offsets.tobytes()]


def _read_checkpoint(path: Path) -> list[bytes]:
    model, manifest = load_checkpoint(path)
    weights = [tensor.numpy().tobytes() for tensor in model.state_dict().values()]
    return [*weights, manifest.model_dump_json(exclude={"extra"}).encode()]


def _read_state(path: Path) -> list[bytes]:
    """The newest whole state; the one before it counts as the same, because a run goes on from either alike."""
    state = ResumeFolder(path, identity="").load()
    if state is None:
        raise ValueError(f"{path} holds no whole state")
    return [b"whole"]


@dataclass(frozen=True)
class Artefact:
    """Something that a stage leaves for the next ones."""

    name: str
    path: str
    read: Callable[[Path], list[bytes]]
    pattern: str
    """Files to damage."""


ARTEFACTS = (
    Artefact("frame store", RUN.store("static_train"), _read_store, "frames/c/**/*"),
    Artefact("residuals", RUN.residuals(1, MASKS), _read_residuals, "*/c/**/*"),
    Artefact("patch masks", RUN.patch_masks(1, MASKS), _read_patches, "mask/c/**/*"),
    Artefact("pixel masks", RUN.pixel_masks(1, MASKS), _read_pixels, "mask/c/**/*"),
    Artefact("checkpoint", RUN.checkpoint("pretrain"), _read_checkpoint, "model.safetensors"),
    Artefact("resume state", RUN.state("pretrain"), _read_state, "step-*.pt"),
)


def damage(reference: Path, folder: Path, artefact: Artefact, *, times: int, seed: int = 0) -> dict[str, Counter[str]]:
    """Cut and flip files of a copy so often each, one at a time, and count what its reader says."""
    place = folder / "damaged"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(reference / artefact.path, place)
    whole = artefact.read(place)
    files = sorted(file for file in place.glob(artefact.pattern) if file.is_file())
    chosen = random.Random(f"{seed}-{artefact.name}")
    counts: dict[str, Counter[str]] = {}
    for kind, harm in (("cut short", _cut), ("bit turned", _flip)):
        counts[kind] = Counter()
        for _ in range(times):
            file = chosen.choice(files)
            content = file.read_bytes()
            file.write_bytes(harm(content, chosen))
            counts[kind][_verdict(artefact, place, whole)] += 1
            file.write_bytes(content)
    assert artefact.read(place) == whole
    return counts


def _verdict(artefact: Artefact, place: Path, whole: list[bytes]) -> str:
    try:
        found = artefact.read(place)
    except (ValueError, OSError, RuntimeError) as error:
        return "named" if str(place) in str(error) else f"refused without its name ({error})"
    return "harmless" if found == whole else "silent"


def _cut(content: bytes, chosen: random.Random) -> bytes:
    return content[: chosen.randrange(len(content))]


def _flip(content: bytes, chosen: random.Random) -> bytes:
    place, bit = chosen.randrange(len(content)), chosen.randrange(8)
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
