"""Reads mutated files in child processes and counts what becomes of them.

Outcomes: `same` (read, as the undamaged file), `refused` (an error that names the file), `unseen` (another result,
where the format has no checksum), and the faults: `silent` (another result where a checksum would have shown it),
`unnamed` (an error without the file's name), `traceback`, `hang`, `crash`.
"""

import contextlib
import json
import logging
import multiprocessing
import os
import random
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.mutations import mutated
from tests.fuzz.subjects import Subject, digest, subjects
from wildrayzer.data.readers.base import BadSceneError

FAULTS = ("silent", "unnamed", "traceback", "hang", "crash")
_HANG = 20
"""Seconds after which a read counts as hanging."""
_BATCH = 100


@dataclass
class Tally:
    """What was counted."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    """By subject."""
    faults: list[str] = field(default_factory=list)
    """Each fault in words, with what it takes to make it again."""

    @property
    def mutations(self) -> int:
        """All of them."""
        return sum(counts.total() for counts in self.outcomes.values())

    def __str__(self) -> str:
        names = ("same", "refused", "unseen", *FAULTS)
        width = max(map(len, self.outcomes), default=8)
        lines = [f"{'subject':<{width}} " + " ".join(f"{name:>9}" for name in names)]
        total: Counter[str] = Counter()
        for subject, counts in self.outcomes.items():
            total.update(counts)
            lines.append(f"{subject:<{width}} " + " ".join(f"{counts[name]:>9}" for name in names))
        lines.append(f"{'all':<{width}} " + " ".join(f"{total[name]:>9}" for name in names))
        return "\n".join(lines)


class _HangError(BaseException):
    """Not an Exception, so that no reader takes it for damage."""


def run(
    *,
    mutations: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    only: str = "",
    keep: Path | None = None,
) -> Tally:
    """Mutate all subjects in turn, until a number of mutations or a time is reached.

    Args:
        mutations: how many in all.
        seconds: for how long.
        seed: mutation `number` of a subject is a function of it.
        only: part of the names of the subjects to take.
        keep: folder for the files of faults.
    """
    tally, began = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        folder = Path(name)
        chosen = [subject for subject in subjects(folder) if only in subject.name]
        first = 0
        while chosen:
            for subject in chosen:
                done = tally.mutations
                if (mutations is not None and done >= mutations) or (
                    seconds is not None and time.monotonic() - began > seconds
                ):
                    return tally
                count = _BATCH if mutations is None else min(_BATCH, mutations - done)
                for number, outcome, detail, content in _batch(subject, folder, seed, range(first, first + count)):
                    tally.outcomes.setdefault(subject.name, Counter())[outcome] += 1
                    if outcome in FAULTS:
                        tally.faults.append(f"{outcome}: {subject.name}, seed {seed}, mutation {number}: {detail}")
                        if keep is not None:
                            keep.mkdir(parents=True, exist_ok=True)
                            (keep / f"{outcome}-{len(tally.faults)}{subject.suffix}").write_bytes(content)
            first += _BATCH
    return tally


def mutation(subject: Subject, seed: int, number: int) -> tuple[str, bytes]:
    """Names of the damage, and the damaged file; number 0 is the undamaged one."""
    return (
        mutated(subject.content, random.Random(f"{seed} {subject.name} {number}")) if number else ("", subject.content)
    )


def _batch(subject: Subject, folder: Path, seed: int, numbers: range) -> Iterator[tuple[int, str, str, bytes]]:
    """Outcomes of some mutations. A child that dies costs the one that it was at; another goes on with the next."""
    context = multiprocessing.get_context("fork")
    todo = list(numbers)
    while todo:
        notes = folder / "outcomes"
        notes.write_text("", encoding="utf-8")
        child = context.Process(target=_child, args=(subject, folder, seed, todo, notes))
        child.start()
        child.join()
        lines = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
        for number, outcome, detail in lines:
            yield number, outcome, detail, mutation(subject, seed, number)[1]
        todo = todo[len(lines) :]
        if todo:
            number = todo.pop(0)
            yield number, "crash", f"exit code {child.exitcode}", mutation(subject, seed, number)[1]


def _child(subject: Subject, folder: Path, seed: int, numbers: list[int], notes: Path) -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    path = folder / f"mutant{subject.suffix}"
    path.write_bytes(subject.content)
    whole = digest(subject.read(path))
    with notes.open("a", encoding="utf-8") as stream:
        for number in numbers:
            name, content = mutation(subject, seed, number)
            path.unlink()  # a reader may still have the last one mapped
            path.write_bytes(content)
            outcome, detail = _outcome(subject, path, folder, whole)
            stream.write(json.dumps([number, outcome, f"{name}: {detail}"]) + "\n")
            stream.flush()


def _outcome(subject: Subject, path: Path, folder: Path, whole: str) -> tuple[str, str]:
    try:
        with _limited():
            result = digest(subject.read(path))
    except (ValueError, BadSceneError) as error:
        named = str(folder) in str(error) or path.stem in str(error) or "0.torch" in str(error)
        return ("refused" if named else "unnamed"), repr(error)[:2000]
    except _HangError:
        return "hang", f"more than {_HANG} s of processor time"
    except Exception:  # noqa: BLE001 - to be counted
        return "traceback", traceback.format_exc()[-2000:]
    if result == whole:
        return "same", ""
    return ("silent", "another result") if subject.unseen is None else ("unseen", subject.unseen)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def end(number: int, frame: object) -> None:
        raise _HangError

    # Time of the processor, so that a busy machine is no hang; a reader that waits for ever ends by the clock.
    signal.signal(signal.SIGPROF, end)
    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_PROF, _HANG)
    signal.alarm(30 * _HANG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
