"""SIGKILL at random moments on the local executor: of a job, and of Snakemake with its job, once a stage is at work.

A job counts as at work from the moment it has taken its lock (`wildrayzer.run.logs`); before it, it only imports.
Its length is measured on an undisturbed try, which must end like the reference itself.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.compare import differences, with_parts
from tests.slurm.jobs import remove
from tests.slurm.run import ROOT, TINY, command, environment
from wildrayzer.run.layout import RunLayout

RUN = RunLayout("tiny")
WHOLE = 2
"""Of the kills of a stage, how many take Snakemake as well."""


@dataclass(frozen=True)
class Stage:
    """A stage, the files that one or a few of its jobs make, and what else it leaves: resume states, parts."""

    name: str
    rule: str
    """The last rule of it."""
    outputs: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Patterns."""

    def reset(self, folder: Path) -> None:
        """As if the stage had never run."""
        for path in [
            *(folder / name for output in self.outputs for name in with_parts(output)),
            *(p for name in self.others for p in folder.glob(name)),
        ]:
            remove(path)


def _training(name: str, number: int | None) -> Stage:
    outputs = (RUN.checkpoint(name, number), RUN.metrics(name, number))
    return Stage(name, f"train_{name}", outputs, (RUN.state(name, number),))


SPLIT = "dynamic_train"
STORE = RUN.store("static_train")
STAGES = (
    Stage(
        "frames",
        "prepare_split",
        (STORE, RUN.data_report("static_train"), RUN.data_sheet("static_train")),
    ),
    _training("pretrain", None),
    Stage("residuals", "list_residuals", (RUN.residuals(1, SPLIT),), (f"{RUN.masks(1, SPLIT)}/residuals.job-*",)),
    Stage("refine", "refine_masks", (RUN.pixel_masks(1, SPLIT),)),
)
"""Some of each kind; `tests.slurm.jobs` kills the jobs of all. Outputs are named in full: nothing else is made."""


@dataclass
class Outcome:
    """What became of a stage's kills."""

    killed: int = 0
    whole: int = 0
    finished_first: int = 0
    wrong: tuple[str, ...] = ()


class KilledRun:
    """A copy of a finished run in which one stage is made again and again."""

    def __init__(self, reference: Path, folder: Path, stage: Stage, *, seed: int) -> None:
        self.reference, self.folder, self.stage = reference, folder, stage
        self.random = random.Random(f"{seed}-{stage.name}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(reference, folder, symlinks=True)

    def start(self, *, retries: int) -> subprocess.Popen[bytes]:
        """Snakemake on the stage's outputs, in a session of its own."""
        shutil.rmtree(self.folder / ".snakemake" / "locks", ignore_errors=True)  # as `snakemake --unlock` does
        log = (self.folder / "snakemake.log").open("ab")
        options = ["--retries", str(retries), "--rerun-triggers", "mtime", "--"]
        words = command(self.folder, *options, *self.stage.outputs, configs=[TINY])
        with log:
            return subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=log, stderr=log, start_new_session=True)

    def job(self, running: subprocess.Popen[bytes], *, not_these: set[int]) -> int | None:
        """The next job that is at work; None when Snakemake has ended."""
        while running.poll() is None:
            for pid in self._scripts() - not_these:
                if _has_lock(pid):
                    return pid
            time.sleep(0.02)
        return None

    def _scripts(self) -> set[int]:
        mark = f"{self.folder}/.snakemake/scripts/".encode()
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"python" in words[0] and any(word.startswith(mark) for word in words[1:]):
                    found.add(int(entry.name))
        return found

    def length(self) -> float:
        """Seconds that the stage's longest job works, on a try that nothing disturbs."""
        self.stage.reset(self.folder)
        running, spans, seen = self.start(retries=0), [0.0], set[int]()
        while (pid := self.job(running, not_these=seen)) is not None:
            begun = time.monotonic()
            seen.add(pid)
            while _has_lock(pid):
                time.sleep(0.005)
            spans.append(time.monotonic() - begun)
        return max(spans)

    def different(self) -> tuple[str, ...]:
        """Outputs that differ from the reference."""
        return tuple(differences(self.reference, self.folder, list(self.stage.outputs)))

    def disturb(self, kills: int) -> Outcome:
        """Kill the stage so often, each time at a random moment, let it end, and compare."""
        outcome, length = Outcome(), self.length()
        if wrong := self.different():
            outcome.wrong = (f"undisturbed: {wrong[0]}",)
            return outcome
        self.stage.reset(self.folder)
        seen: set[int] = set()
        running = self.start(retries=2 * kills)
        while outcome.killed < kills:
            pid = self.job(running, not_these=seen)
            if pid is None:  # it ended before its kill
                outcome.finished_first += 1
                outcome.wrong += self.different() or self._failed(running)
                if outcome.wrong:
                    return outcome
                self.stage.reset(self.folder)
                running = self.start(retries=2 * kills)
                continue
            seen.add(pid)
            time.sleep(self.random.uniform(0.0, length))
            if not _has_lock(pid):
                continue
            whole = outcome.killed >= kills - WHOLE
            os.killpg(running.pid, signal.SIGKILL) if whole else os.kill(pid, signal.SIGKILL)
            outcome.killed += 1
            outcome.whole += whole
            if whole:
                running.wait()
                running = self.start(retries=0)
        running.wait()
        outcome.wrong += self.different() or self._failed(running)
        return outcome

    def _failed(self, ended: subprocess.Popen[bytes]) -> tuple[str, ...]:
        return (f"Snakemake ended with {ended.returncode}",) if ended.returncode else ()


def _has_lock(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return any(link.readlink().suffix == ".lock" for link in Path(f"/proc/{pid}/fd").iterdir())
    return False
