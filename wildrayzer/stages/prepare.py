"""Data preparation: make the embedded sets, and turn any split into a frame store with a report."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from rich.progress import Progress

from wildrayzer.config.sections.data import EmbeddedConfig, SplitConfig, StoreConfig
from wildrayzer.data.frame_store.join import SCHEMA, join_parts
from wildrayzer.data.frame_store.parts import StoreForm
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.preparation.parts import Preparation, part_bounds, prepare_parts
from wildrayzer.data.preparation.report import refuse_if_too_many, report_path, sheet_path, split_counts
from wildrayzer.data.readers.base import SceneReader
from wildrayzer.data.readers.layouts import open_reader
from wildrayzer.io.digests import digest_json
from wildrayzer.io.disk_space import writing
from wildrayzer.io.files import read_json, write_bytes_atomic, write_json
from wildrayzer.io.folders import private_folder, put_in_place, remove_leftovers
from wildrayzer.run.stage_versions import STAGE_VERSIONS

logger = logging.getLogger(__name__)

STAGE_VERSION = STAGE_VERSIONS["frames"]
_STALE = 24 * 3600
"""Seconds after which parts made with other options are removed."""


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


def prepare_split(
    split: SplitConfig,
    raw_dir: str | Path,
    out_path: str | Path,
    *,
    image_size: int,
    store: StoreConfig,
    min_frames: int = 3,
    processes: int = 1,
    expected_scenes: int | None = None,
    expected_frames: int | None = None,
) -> dict[str, Any]:
    """Read a split in its outside layout and write its frame store, its report and its contact sheet.

    A scene that cannot be used is skipped with its reason. A job that is stopped goes on where it was: finished parts
    lie beside the store, as `.NAME.parts-DIGEST`, until it is complete. The bytes of the store do not depend on stops,
    nor on the number of processes. Two preparations of the same split at once do not harm each other.

    Args:
        split: its options.
        raw_dir: its files.
        out_path: of the store.
        image_size: side of its frames.
        store: its options.
        min_frames: frames a scene needs: the shortest window has two inputs and a target.
        processes: that share the parts out.
        expected_scenes: scenes of the full split, if known; another count is reported.
        expected_frames: frames of the full split, if known.

    Returns:
        The report: scenes and frames expected, found and used, what was skipped why, and what the scenes are like.

    Raises:
        ValueError: the split cannot be read at all, lacks what its role needs, has too many bad scenes, or the disk is
            full.
    """
    out_path, raw_dir = Path(out_path), Path(raw_dir)
    reader = open_reader(split, raw_dir)
    if split.role == "pairs" and not reader.has_clean:
        raise ValueError(f"{raw_dir} has role: pairs but no frame names a clean twin (`gt_image_path`)")
    codec = store.train_codec if split.purpose == "train" else "zstd"
    form = StoreForm(
        image_size, store, cameras=reader.has_cameras, masks=reader.has_masks, clean=reader.has_clean, codec=codec
    )
    job = _plan(split, raw_dir, out_path, reader=reader, form=form, min_frames=min_frames)
    expected = {"scenes": split.expected_scenes or expected_scenes, "frames": expected_frames}
    before = _identity(out_path)
    try:
        with writing(out_path.parent, purpose="preparing frames"):
            return _prepare(split, job, raw_dir, out_path, before, processes=processes, expected=expected)
    except FileNotFoundError:
        if _identity(out_path) in (None, before):
            raise
        report = read_json(report_path(out_path))
        if report["made_from"] != job.made_from:
            raise
        logger.warning("%s was finished by another process meanwhile, which removed the parts; it is taken", out_path)
        shutil.rmtree(job.folder, ignore_errors=True)
        return dict(report)


def _plan(
    split: SplitConfig, raw_dir: Path, out_path: Path, *, reader: SceneReader, form: StoreForm, min_frames: int
) -> Preparation:
    names = tuple(reader.names[: split.limit])
    made_from = [
        SCHEMA, STAGE_VERSION, str(raw_dir.resolve()), split.layout, names, min_frames, form.image_size, form.cameras,
        form.masks, form.clean, form.coding, form.store.model_dump(mode="json", exclude={"max_skipped", "preload_mb"}),
    ]  # fmt: skip
    digest = digest_json(made_from)
    folder = out_path.with_name(f".{out_path.name}.parts-{digest}")
    bounds = part_bounds(names, reader.group, reader.about_frames, frames=form.store.frames_per_shard)
    return Preparation(reader, names, form, min_frames, folder, bounds, digest)


def _prepare(
    split: SplitConfig,
    job: Preparation,
    raw_dir: Path,
    out_path: Path,
    before: tuple[int, int] | None,
    *,
    processes: int,
    expected: dict[str, int | None],
) -> dict[str, Any]:
    missing = job.missing()
    if len(missing) < len(job):
        logger.info("%s: %d of %d parts are there already", out_path, len(job) - len(missing), len(job))
    counts = prepare_parts(job, missing, processes=processes)
    next(counts)  # starts the processes, before the progress bar starts its thread
    with Progress() as shown:
        task = shown.add_task(f"{out_path.stem}: scenes", total=sum(len(job.scenes(number)) for number in missing))
        for done in counts:
            shown.update(task, completed=done)
    report = {
        "path": str(raw_dir), "layout": split.layout, "image_size": job.form.image_size, "codec": job.form.codec,
        "made_from": job.made_from, **split_counts(job, expected, limit=split.limit),
    }  # fmt: skip
    refuse_if_too_many(report, job, out_path)
    _join(split, job, out_path, before, report)
    _tidy(job, out_path)
    return report


def _join(
    split: SplitConfig, job: Preparation, out_path: Path, before: tuple[int, int] | None, report: dict[str, Any]
) -> None:
    from wildrayzer.report.page.contact_sheets import contact_sheet

    for purpose in ("joining", "old"):
        remove_leftovers(out_path, purpose)
    temporary = private_folder(out_path, "joining")
    try:
        made = temporary / "store"
        attributes = {"role": split.role, "use": split.purpose, "stage_version": STAGE_VERSION}
        report["digest"] = join_parts(made, [job.part(number) for number in range(len(job))], job.form, attributes)
        write_bytes_atomic(sheet_path(out_path), contact_sheet(FrameStore(made)))
        write_json(report_path(out_path), report)
        # Where another process was faster with the same store, later jobs may read it already: it stays.
        if _identity(out_path) in (None, before) or FrameStore(out_path).digest != report["digest"]:
            put_in_place(made, out_path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _identity(store: Path) -> tuple[int, int] | None:
    try:
        status = (store / "zarr.json").stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns)


def _tidy(job: Preparation, out_path: Path) -> None:
    """Remove the parts, and those of earlier options."""
    shutil.rmtree(job.folder, ignore_errors=True)
    for folder in out_path.parent.glob(f".{out_path.name}.parts-*"):
        if folder != job.folder and time.time() - folder.stat().st_mtime > _STALE:
            shutil.rmtree(folder, ignore_errors=True)
            logger.warning("%s, parts made with other options, was removed", folder)
        elif folder.exists():
            logger.warning("%s holds parts made with other options; remove it if no other job uses it", folder)
