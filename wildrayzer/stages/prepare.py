"""Data preparation: make the embedded sets, and turn any split into a frame store with a report."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress

from wildrayzer.config.sections.data import EmbeddedConfig, SplitConfig, StoreConfig
from wildrayzer.data.frame_store.manifest import PartEntry, SplitManifest
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.frame_store.writer import SCHEMA, StoreForm
from wildrayzer.data.preparation.parts import Preparation, prepare_parts
from wildrayzer.data.preparation.plan import PartsPlan, divide_clips, plan_parts
from wildrayzer.data.preparation.records import ClipFiles, PartRecord, read_record, read_records, remove_parts
from wildrayzer.data.preparation.report import refuse_if_too_many, report_path, sheet_path, split_counts
from wildrayzer.data.readers.layouts import open_reader
from wildrayzer.io.digests import digest_json
from wildrayzer.io.disk_space import writing
from wildrayzer.io.files import write_bytes_atomic, write_json
from wildrayzer.io.locks import locked
from wildrayzer.io.part_lists import parts_folder
from wildrayzer.run.stage_versions import STAGE_VERSIONS

logger = logging.getLogger(__name__)

STAGE_VERSION = STAGE_VERSIONS["frames"]


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
    """Read a split in its outside layout and write its parts, their manifest, its report and its contact sheet.

    Only what is new or changed is read: parts of unchanged clips stay as they are. A scene that cannot be used is
    skipped with its reason. A job that is stopped resumes with the parts that are missing, and until the manifest is
    replaced, at the end, the split is as it was. The parts do not depend on stops, nor on the number of processes. Of
    two preparations of the same split at once, the second one waits and takes what the first one has made.

    Args:
        split: its options.
        raw_dir: its files.
        out_path: of the manifest.
        image_size: side of its frames.
        store: its options.
        min_frames: frames a scene needs: the shortest window has two inputs and a target.
        processes: that share the parts out.
        expected_scenes: scenes of the full split, if known; another count is reported.
        expected_frames: frames of the full split, if known.

    Returns:
        The report: scenes and frames expected, found and used, what was skipped why, and what the scenes are like.

    Raises:
        ValueError: the split cannot be read at all, lacks what its role needs, has too many bad scenes, its manifest is
            damaged, or the disk is full.
    """
    out_path, raw_dir = Path(out_path), Path(raw_dir)
    job = _preparation(split, raw_dir, out_path, image_size=image_size, store=store, min_frames=min_frames)
    reader, form, folder = job.reader, job.form, job.folder
    names = tuple(reader.names[: split.limit])
    expected = {"scenes": split.expected_scenes or expected_scenes, "frames": expected_frames}
    folder.mkdir(parents=True, exist_ok=True)
    with writing(out_path.parent, purpose="preparing frames"), locked(folder / ".lock", wait=True):
        plan = _finish(job, _plan(job, names, out_path), out_path, processes=processes)
        records = [*plan.skipped, *(part.record for part in plan.parts if part.record is not None)]
        report = {
            "path": str(raw_dir), "layout": split.layout, "image_size": form.image_size, "codec": form.codec,
            **split_counts(reader, names, records, expected, limit=split.limit),
        }  # fmt: skip
        refuse_if_too_many(report, store.max_skipped, out_path)
        _list_parts(job, plan, out_path, report)
        # At once: jobs that read the split run before or after its preparation, never beside it.
        remove_parts(folder, keep={record.key for record in records})
    return report


def kept_parts(
    split: SplitConfig,
    raw_dir: str | Path,
    out_path: str | Path,
    *,
    image_size: int,
    store: StoreConfig,
    min_frames: int = 3,
) -> list[str | None]:
    """What a preparation with these arguments of `prepare_split` would find there already; nothing is written.

    Returns:
        The key of each part that would stay, and None for each part that would be made.

    Raises:
        ValueError: the split cannot be read, or its manifest is damaged.
    """
    out_path, raw_dir = Path(out_path), Path(raw_dir)
    job = _preparation(split, raw_dir, out_path, image_size=image_size, store=store, min_frames=min_frames)
    plan = _plan(job, tuple(job.reader.names[: split.limit]), out_path)
    return [part.record.key if part.record else None for part in plan.parts]


def _preparation(
    split: SplitConfig, raw_dir: Path, out_path: Path, *, image_size: int, store: StoreConfig, min_frames: int
) -> Preparation:
    reader = open_reader(split, raw_dir)
    if split.role == "pairs" and not reader.has_clean:
        raise ValueError(f"{raw_dir} has role: pairs but no frame names a clean twin (`gt_image_path`)")
    form = StoreForm(
        image_size,
        store,
        cameras=reader.has_cameras,
        masks=reader.has_masks,
        clean=reader.has_clean,
        codec=store.codec(split.purpose),
    )
    attributes = {"role": split.role, "use": split.purpose, "stage_version": STAGE_VERSION}
    made_from = digest_json([SCHEMA, min_frames, image_size, form.coding, form.arrays, attributes])
    folder = parts_folder(out_path)
    return Preparation(reader, ClipFiles(reader, raw_dir), form, attributes, min_frames, folder, made_from)


def _empty(job: Preparation) -> SplitManifest:
    """A manifest without parts."""
    form = job.form
    return SplitManifest(form.image_size, form.coding, form.arrays, job.attributes)


def _plan(job: Preparation, names: tuple[str, ...], out_path: Path) -> PartsPlan:
    before = SplitManifest.load(out_path, complete=False) if out_path.is_file() else None
    if before is not None and not before.agrees(_empty(job)):
        logger.info("%s: options have changed, all frames are prepared again", out_path)
        before = None
    frames, reader = job.form.store.frames_per_part, job.reader
    divide = partial(divide_clips, group=reader.group, about_frames=reader.about_frames, frames=frames)
    return plan_parts(names, before, read_records(job.folder, job.made_from), job.files, divide)


def _finish(job: Preparation, plan: PartsPlan, out_path: Path, *, processes: int) -> PartsPlan:
    """Make the parts that are missing."""
    missing = [number for number, part in enumerate(plan.parts) if part.record is None]
    if len(missing) < len(plan.parts):
        logger.info("%s: %d of %d parts are there already", out_path, len(plan.parts) - len(missing), len(plan.parts))
    keys: dict[int, str] = {}
    counts = prepare_parts(job, [plan.parts[number].names for number in missing], keys, processes=processes)
    next(counts)  # starts the processes, before the progress bar starts its thread
    with Progress() as shown:
        task = shown.add_task(f"{out_path.stem}: scenes", total=sum(len(plan.parts[n].names) for n in missing))
        for done in counts:
            shown.update(task, completed=done)
    return plan.with_records({number: read_record(job.folder, keys[place]) for place, number in enumerate(missing)})


def _list_parts(job: Preparation, plan: PartsPlan, out_path: Path, report: dict[str, Any]) -> None:
    """Write the sheet, the report, and last the manifest, which completes the split."""
    from wildrayzer.report.page.contact_sheets import contact_sheet

    entries: list[PartEntry] = []
    frames = 0
    for part in plan.parts:
        record: PartRecord | None = part.record
        assert record is not None
        if record.used:
            lengths = tuple(clip["frames"] for clip in record.used.values())
            seed = frames if part.seed_frame is None else part.seed_frame
            entries.append(PartEntry(record.key, seed, tuple(record.used), lengths))
            frames += sum(lengths)
        record.save(job.folder)
    manifest = _empty(job).with_parts(entries)
    report["digest"] = manifest.digest
    write_bytes_atomic(sheet_path(out_path), contact_sheet(FrameStore(out_path, manifest=manifest)))
    write_json(report_path(out_path), report, checksum=True)
    manifest.save(out_path)
