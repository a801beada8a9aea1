"""Data preparation: make the embedded sets, and turn any split into a frame store with a report."""

import logging
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from rich.progress import track

from wildrayzer.config.data import EmbeddedConfig, SplitConfig, StoreConfig
from wildrayzer.data.readers.base import BadSceneError, Scene, SceneReader, open_reader
from wildrayzer.data.store import FrameStore, FrameStoreWriter
from wildrayzer.provenance import write_json

logger = logging.getLogger(__name__)

STAGE_VERSION = 1
"""Counts changes of this stage's code that alter its results."""


def make_embedded(
    config: EmbeddedConfig, *, image_size: int, split: str, out_dir: str | Path, threads: int = 1
) -> None:
    """Generate one embedded split in the layout that its section names.

    Raises:
        ValueError: there is no such split.
    """
    from wildrayzer.data.embedded.write import write_split

    write_split(config, split, Path(out_dir), image_size=image_size, threads=threads)


def make_cutouts(config: EmbeddedConfig, *, out_dir: str | Path, threads: int = 1) -> None:
    """Generate the COCO stand-in: `annotations/instances_train2014.json` and `train2014/`."""
    from wildrayzer.data.embedded.cutouts import write_cutouts

    write_cutouts(config, Path(out_dir), threads=threads)


def report_path(store: str | Path) -> Path:
    """Where the report of a frame store lies: beside it."""
    return Path(store).with_suffix(".report.json")


def _read(reader: SceneReader, name: str, *, image_size: int, min_frames: int) -> Scene:
    scene = reader.read(name, image_size=image_size)
    if len(scene.frames) < min_frames:
        raise BadSceneError("too few frames", f"{name}: {len(scene.frames)}, at least {min_frames} are needed")
    return scene


def prepare_split(
    split: SplitConfig,
    raw_dir: str | Path,
    out_path: str | Path,
    *,
    image_size: int,
    store: StoreConfig,
    min_frames: int = 3,
) -> dict[str, Any]:
    """Read a split in its outside layout and write its frame store, and its report beside it.

    A scene that cannot be used is skipped with its reason. Returns the report: scenes and frames expected, found and
    used, and what was skipped why.

    Raises:
        ValueError: the split cannot be read at all, lacks what its role needs, or has too many bad scenes.
    """
    out_path = Path(out_path)
    reader = open_reader(split, Path(raw_dir))
    if split.role == "pairs" and not reader.has_clean:
        raise ValueError(f"{raw_dir} has role: pairs but no frame names a clean twin (`gt_image_path`)")
    names = list(islice(reader.names, split.limit))
    skipped: dict[str, str] = {}
    reasons: Counter[str] = Counter()
    report: dict[str, Any] = {"path": str(raw_dir), "layout": split.layout, "image_size": image_size}
    with FrameStoreWriter(
        out_path,
        image_size=image_size,
        store=store,
        attributes={"role": split.role, "use": split.use, "stage_version": STAGE_VERSION},
        cameras=reader.has_cameras,
        masks=reader.has_masks,
        clean=reader.has_clean,
    ) as writer:
        for name in track(names, description=f"{out_path.stem}: scenes"):
            try:
                scene = _read(reader, name, image_size=image_size, min_frames=min_frames)
            except BadSceneError as error:
                logger.warning("%s: scene %s skipped: %s", raw_dir, name, error)
                skipped[name] = str(error)
                reasons[error.reason] += 1
                continue
            writer.add_scene(
                scene.name,
                scene.frames,
                c2w=scene.c2w,
                intrinsics=scene.intrinsics,
                masks=scene.masks,
                clean=scene.clean,
            )
        expected = split.expected_scenes
        report |= {
            "scenes": {"expected": expected, "found": len(reader.names), "taken": len(names),
                       "used": len(names) - len(skipped), "skipped": len(skipped)},
            "frames": {"used": writer.num_frames},
            "reasons": dict(sorted(reasons.items())),
            "skipped": skipped,
            "notes": list(reader.notes),
        }  # fmt: skip
        if expected is not None and expected != len(reader.names):
            report["notes"].append(f"the split should have {expected} scenes but {len(reader.names)} were found")
            logger.warning("%s: %s", raw_dir, report["notes"][-1])
        write_json(report_path(out_path), report)
        _refuse_if_too_many(report, out_path, store)
    written = FrameStore(out_path)
    report |= {"digest": written.digest}
    write_json(report_path(out_path), report)
    return report


def _refuse_if_too_many(report: dict[str, Any], out_path: Path, store: StoreConfig) -> None:
    scenes = report["scenes"]
    if scenes["used"] and scenes["skipped"] <= store.max_skipped * scenes["taken"]:
        return
    reasons = "; ".join(f"{reason}: {count}" for reason, count in report["reasons"].items())
    raise ValueError(
        f"{report['path']}: {scenes['skipped']} of {scenes['taken']} scenes cannot be used ({reasons}), "
        f"more than data.store.max_skipped = {store.max_skipped} allows; mend the files listed in "
        f"{report_path(out_path)} or raise max_skipped"
    )
