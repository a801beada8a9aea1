"""Making the parts of a split, in this process or in several that share them out.

Parts are named by their content. A job that is stopped resumes with the parts that are missing, and two jobs that
make the same part do no harm: the first one to finish puts it in place.
"""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import cv2

from wildrayzer.data.frame_store.writer import FrameStoreWriter, StoreForm
from wildrayzer.data.preparation.records import ClipFiles, PartRecord
from wildrayzer.data.preparation.statistics import scene_facts
from wildrayzer.data.readers.base import BadSceneError, Scene, SceneReader
from wildrayzer.io.digests import digest_json
from wildrayzer.io.disk_space import writing
from wildrayzer.io.printable import printable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparation:
    """How the parts of one split are made."""

    reader: SceneReader
    files: ClipFiles
    form: StoreForm
    attributes: dict[str, Any]
    """Of the store."""
    min_frames: int
    folder: Path
    """Of the parts."""
    made_from: str
    """Digest of all options that decide the content of a part."""


def _read(job: Preparation, name: str) -> Scene:
    scene = job.reader.read(name, image_size=job.form.image_size)
    if len(scene.frames) < job.min_frames:
        raise BadSceneError(
            "too few frames", f"{name}: {len(scene.frames)}, at least {job.min_frames} are needed",
            frames=len(scene.frames),
        )  # fmt: skip
    return scene


def prepare_part(job: Preparation, names: Sequence[str], *, progress: Callable[[], None] = lambda: None) -> str:
    """Read clips and write them as a part with its record; returns the key.

    Clips that cannot be used are recorded with their reason.
    """
    clips: dict[str, dict[str, Any]] = {}
    with FrameStoreWriter(job.folder, job.form, job.attributes, keyed=True) as writer:
        for name in names:
            # The state is that from before reading: a change meanwhile is seen next time.
            clips[name] = {"stamp": list(vars(job.files.stamp(name)).values())}
            try:
                scene = _read(job, name)
            except BadSceneError as error:
                logger.warning("scene %s skipped: %s", printable(name), error)
                clips[name] |= {"reason": error.reason, "detail": str(error), "frames": error.frames}
            else:
                writer.add_scene(
                    name, scene.frames, c2w=scene.c2w, intrinsics=scene.intrinsics, masks=scene.masks, clean=scene.clean
                )
                clips[name] |= scene_facts(scene)
            progress()
    key = writer.digest or digest_json([job.made_from, clips])
    PartRecord(key, job.made_from, clips, tuple(job.reader.unlisted(names))).save(job.folder)
    return key


def prepare_parts(
    job: Preparation, parts: Sequence[Sequence[str]], keys: dict[int, str], *, processes: int
) -> Iterator[int]:
    """Prepare parts, given by their clips; gives the count of finished clips now and then, 0 at first.

    The key of each finished part is put into `keys`, by its number.

    Take the first count before a thread is started (a progress bar has one): the processes are forked until then.

    Raises:
        OSError: the disk is full, among others.
        RuntimeError: a process was killed, or has failed.
    """
    processes = min(processes, len(parts))
    if processes > 1:
        yield from _share_out(job, parts, keys, processes)
        return
    done = 0
    yield done
    for number, names in enumerate(parts):
        keys[number] = prepare_part(job, names)
        done += len(names)
        yield done


def _share_out(job: Preparation, parts: Sequence[Sequence[str]], keys: dict[int, str], processes: int) -> Iterator[int]:
    context = multiprocessing.get_context("fork")
    cv2.setNumThreads(1)  # ends its threads here: a forked process would wait for them for ever
    following, clips = context.Value("q", 0), context.Value("q", 0)
    failures, made = context.SimpleQueue(), context.SimpleQueue()
    arguments = (job, parts, following, clips, failures, made, os.getpid())
    workers = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()

    def collect() -> None:
        while not made.empty():
            number, key = made.get()
            keys[number] = key

    def check() -> None:
        failed = [worker for worker in workers if worker.exitcode not in (None, 0)]
        if failed and failures.empty():
            raise RuntimeError(
                f"a process of the preparation ended with exit code {failed[0].exitcode}: out of memory, or "
                "killed; run the stage again, with more memory or fewer threads: finished parts are kept"
            )
        if failed:
            raise failures.get()

    try:
        yield 0
        while any(worker.exitcode is None for worker in workers):
            wait([worker.sentinel for worker in workers if worker.exitcode is None], timeout=0.5)
            collect()
            yield int(clips.value)
            check()
        collect()
        check()  # of those that ended before or after the last look
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _work(
    job: Preparation, parts: Sequence[Sequence[str]], following: Any, clips: Any, failures: Any, made: Any, parent: int
) -> None:
    def count() -> None:
        with clips.get_lock():
            clips.value += 1

    while os.getppid() == parent:  # a process whose parent was killed stops after its part
        with following.get_lock():
            number, following.value = following.value, following.value + 1
        if number >= len(parts):
            return
        try:
            with writing(job.folder.parent, purpose="preparing frames"):
                made.put((number, prepare_part(job, parts[number], progress=count)))
        except (OSError, ValueError, RuntimeError, MemoryError, LookupError, TypeError) as error:
            logger.exception("part of %s and %d more", parts[number][0], len(parts[number]) - 1)
            failures.put(error if isinstance(error, OSError | ValueError) else RuntimeError(repr(error)))
            raise SystemExit(1) from None
