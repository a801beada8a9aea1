"""Files damaged between two stages: cut short, or one bit turned; what reads them must refuse them by name.

A damage is *named* when the reader says which artefact it is and refuses it (or, a resume state, takes the one before
it), *harmless* when everything read is unchanged (a byte that carries no content), and *silent* otherwise.
"""

import contextlib
import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.slurm.compare import with_parts
from wildrayzer.checkpoint import load_checkpoint
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.pseudo_masks.cache.cache import CacheGroup, PatchMasks, PixelMasks, ResidualMaps
from wildrayzer.run.layout import RunLayout
from wildrayzer.training.resume import ResumeFolder


def read_store(path: Path) -> list[bytes]:
    store = FrameStore(path)
    everything = np.arange(store.num_frames)
    about = [store.digest, store.scenes, store.attributes, store.image_size]
    parts = [repr(about).encode(), store.read(everything).tobytes(), store.offsets.tobytes()]
    return [*parts, *(part.tobytes() for part in store.cameras(everything))]


def _about(group: CacheGroup) -> bytes:
    return repr([group.digest, group.digests, group.scenes, group.sizes, group.about]).encode()


def read_residuals(path: Path) -> list[bytes]:
    maps = ResidualMaps(path)
    names = ("d_dino", "d_ssim", "clusters", "psnr", "window", "disagreement")
    return [_about(maps), maps.offsets.tobytes(), *(maps.all(name).tobytes() for name in names)]


def read_patches(path: Path) -> list[bytes]:
    masks = PatchMasks(path)
    return [_about(masks), masks.all("mask").tobytes(), masks.offsets.tobytes()]


def read_pixels(path: Path) -> list[bytes]:
    masks = PixelMasks(path)
    return [_about(masks), masks.read(np.arange(masks.num_frames)).tobytes(), masks.offsets.tobytes()]


def read_checkpoint(path: Path) -> list[bytes]:
    model, manifest = load_checkpoint(path)
    weights = [tensor.numpy().tobytes() for tensor in model.state_dict().values()]
    return [*weights, manifest.model_dump_json(exclude={"extra"}).encode()]


def read_state(path: Path) -> list[bytes]:
    """The newest whole state; the one before it counts as the same, because a run goes on from either alike."""
    state = ResumeFolder(path, identity="").load()
    if state is None:
        raise ValueError(f"{path} holds no whole state")
    return [b"whole"]


@dataclass(frozen=True)
class Artefact:
    """Something that a stage leaves for the next ones."""

    name: str
    rule: str
    """That makes it."""
    read: Callable[[Path], list[bytes]]
    pattern: str = "**/*"
    """Files to damage."""
    path: str | None = None
    """Where it lies; without it, at the rule's first output."""
    run: str | None = None
    """Run that it belongs to; without it, the tiny run."""


ARTEFACTS = (
    Artefact("frame store", "prepare_split", read_store),
    Artefact("frame store as JPEG", "prepare_split", read_store, run="jpeg"),
    Artefact("residuals", "list_residuals", read_residuals),
    Artefact("patch masks", "vote_masks", read_patches),
    Artefact("pixel masks", "refine_masks", read_pixels),
    Artefact("checkpoint", "train_pretrain", read_checkpoint, "model.safetensors"),
    Artefact("resume state", "train_pretrain", read_state, "step-*.pt", RunLayout("tiny").state("pretrain")),
)


def damage(made: Path, folder: Path, artefact: Artefact, *, times: int, seed: int = 0) -> dict[str, Counter[str]]:
    """Cut and flip files of a copy so often each, one at a time, and count what its reader says."""
    shutil.rmtree(folder / "damaged", ignore_errors=True)
    place = folder / "damaged" / made.name
    copies = {Path(name): folder / "damaged" / Path(name).name for name in with_parts(str(made)) if Path(name).exists()}
    for source, copy in copies.items():
        copy.parent.mkdir(exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    whole = artefact.read(place)
    found = (file for copy in copies.values() for file in ([copy] if copy.is_file() else copy.glob(artefact.pattern)))
    files = sorted(file for file in found if file.is_file() and file.stat().st_size)
    chosen = random.Random(f"{seed}-{artefact.name}")
    counts: dict[str, Counter[str]] = {}
    for kind, harm in (("cut short", _cut), ("bit turned", flipped)):
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
    with warnings_of_the_package() as said:
        try:
            found = artefact.read(place)
        except (ValueError, OSError, RuntimeError, LookupError, TypeError, AttributeError) as error:
            return "named" if str(place.with_suffix("")) in str(error) else "refused without its name"
    if found != whole:
        return "silent"
    return "named" if any(str(place.with_suffix("")) in line for line in said) else "harmless"


@contextlib.contextmanager
def warnings_of_the_package() -> Iterator[list[str]]:
    """What the package logs meanwhile."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("wildrayzer")
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def _cut(content: bytes, chosen: random.Random) -> bytes:
    return content[: chosen.randrange(len(content))]


def flipped(content: bytes, chosen: random.Random) -> bytes:
    place, bit = chosen.randrange(len(content)), chosen.randrange(8)
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
