"""Preparing a split part by part: what the parts are, one part, and several processes that share them out.

Finished parts lie in a folder beside the store whose name says what they are made from, so a job that is stopped goes
on with the parts that are missing, and two jobs that prepare the same split make the same parts: each writes under a
name of its own, and whoever finishes first puts his in place.
"""

import errno
import logging
import multiprocessing
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import cv2

from wildrayzer.data.frame_store.parts import PartWriter, StoreForm
from wildrayzer.data.preparation.statistics import scene_facts
from wildrayzer.data.readers.base import BadSceneError, Scene, SceneReader
from wildrayzer.io.digests import digest_json
from wildrayzer.io.disk_space import writing
from wildrayzer.io.files import read_json

logger = logging.getLogger(__name__)

SCENES_PER_PART = 50
"""A part with as many scenes takes no further chunk."""


@dataclass(frozen=True)
class Preparation:
    """The parts of one split."""

    reader: SceneReader
    names: tuple[str, ...]
    form: StoreForm
    min_frames: int
    folder: Path
    """Of the parts."""
    bounds: tuple[int, ...]
    """Part p holds the scenes from `bounds[p]` to `bounds[p + 1]`."""
    made_from: str
    """Stands for the folder of the data, the list of scenes and all options that change the parts."""

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def part(self, number: int) -> Path:
        """Where a finished part lies."""
        return self.folder / f"part-{number:06d}"

    def scenes(self, number: int) -> tuple[str, ...]:
        """Names of a part's scenes."""
        return self.names[self.bounds[number] : self.bounds[number + 1]]

    def stamp(self, number: int) -> str:
        """Stands for the state of a part's files."""
        return digest_json([[name, *self.reader.stamp(name)] for name in self.scenes(number)])

    def missing(self) -> list[int]:
        """Parts that are not there yet, or whose files have changed since; the latter are removed."""
        found = []
        for number in range(len(self)):
            file = self.part(number) / "part.json"
            if file.is_file():
                if read_json(file)["facts"]["stamp"] == self.stamp(number):
                    continue
                logger.warning("%s: its files have changed since; it is made anew", self.part(number))
                shutil.rmtree(self.part(number), ignore_errors=True)
            found.append(number)
        return found


def part_bounds(
    names: Sequence[str], group: Callable[[str], str], about_frames: Callable[[str], int], *, frames: int
) -> tuple[int, ...]:
    """Where parts start and end: whole groups (chunk files), until there are `SCENES_PER_PART` scenes.

    A group that would bring a part above `frames`, a shard's, starts the next part; one that is larger is a part.
    """
    bounds, end, held = [0], 0, 0
    for _, grouped in groupby(names, group):
        scenes = list(grouped)
        coming = sum(map(about_frames, scenes))
        if end > bounds[-1] and (held + coming > frames or end - bounds[-1] >= SCENES_PER_PART):
            bounds.append(end)
            held = 0
        end, held = end + len(scenes), held + coming
    return (*bounds, end) if names else (0,)


def _read(job: Preparation, name: str) -> Scene:
    scene = job.reader.read(name, image_size=job.form.image_size)
    if len(scene.frames) < job.min_frames:
        raise BadSceneError(
            "too few frames", f"{name}: {len(scene.frames)}, at least {job.min_frames} are needed",
            frames=len(scene.frames),
        )  # fmt: skip
    return scene


def prepare_part(job: Preparation, number: int, *, progress: Callable[[], None] = lambda: None) -> None:
    """Read the scenes of a part and write it; scenes that cannot be used are noted with their reason."""
    temporary = job.folder / f"{job.part(number).name}.{uuid.uuid4().hex[:12]}"
    stamp, names = job.stamp(number), job.scenes(number)
    skipped: dict[str, dict[str, Any]] = {}
    facts = []
    try:
        writer = PartWriter(temporary, job.form)
        for name in names:
            try:
                scene = _read(job, name)
            except BadSceneError as error:
                logger.warning("scene %s skipped: %s", name, error)
                skipped[name] = {"reason": error.reason, "detail": str(error), "frames": error.frames}
            else:
                writer.add_scene(
                    scene.name, scene.frames, c2w=scene.c2w, intrinsics=scene.intrinsics, masks=scene.masks,
                    clean=scene.clean,
                )  # fmt: skip
                facts.append(scene_facts(scene))
            progress()
        unlisted = job.reader.unlisted(names)
        writer.finish({"stamp": stamp, "scenes": facts, "skipped": skipped, "unlisted": unlisted})
        _put(temporary, job.part(number))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, part: Path) -> None:
    try:
        temporary.rename(part)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        logger.info("%s was finished by another process meanwhile", part)


def prepare_parts(job: Preparation, numbers: Sequence[int], *, processes: int) -> Iterator[int]:
    """Prepare parts, in this process or in several; gives the count of finished scenes now and then, 0 at first.

    Take the first count before a thread is started (a progress bar has one): the processes are forked until then.

    Raises:
        OSError: the disk is full, among others.
        RuntimeError: a process was killed, or has failed.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    processes = min(processes, len(numbers))
    if processes > 1:
        yield from _share_out(job, numbers, processes)
        return
    done = 0
    yield done
    for number in numbers:
        prepare_part(job, number)
        done += len(job.scenes(number))
        yield done


def _share_out(job: Preparation, numbers: Sequence[int], processes: int) -> Iterator[int]:
    context = multiprocessing.get_context("fork")
    cv2.setNumThreads(1)  # its threads do not survive a fork
    following, scenes = context.Value("q", 0), context.Value("q", 0)
    failures = context.SimpleQueue()
    arguments = (job, numbers, following, scenes, failures, os.getpid())
    workers = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    try:
        yield 0
        while any(worker.exitcode is None for worker in workers):
            wait([worker.sentinel for worker in workers if worker.exitcode is None], timeout=0.5)
            yield int(scenes.value)
            failed = [worker for worker in workers if worker.exitcode not in (None, 0)]
            if failed and failures.empty():
                raise RuntimeError(
                    f"a process of the preparation ended with exit code {failed[0].exitcode}: out of memory, or "
                    "killed; run the stage again, with more memory or fewer threads: finished parts are kept"
                )
            if failed:
                raise failures.get()
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _work(job: Preparation, numbers: Sequence[int], following: Any, scenes: Any, failures: Any, parent: int) -> None:
    def count() -> None:
        with scenes.get_lock():
            scenes.value += 1

    while os.getppid() == parent:  # a process whose parent was killed stops after its part
        with following.get_lock():
            place, following.value = following.value, following.value + 1
        if place >= len(numbers):
            return
        try:
            with writing(job.folder.parent, purpose="preparing frames"):
                prepare_part(job, numbers[place], progress=count)
        except (OSError, ValueError, RuntimeError, MemoryError, LookupError, TypeError) as error:
            logger.exception("part %d", numbers[place])
            failures.put(error if isinstance(error, OSError | ValueError) else RuntimeError(repr(error)))
            raise SystemExit(1) from None
