"""An undisturbed run of the tiny configuration, made by its jobs themselves as far as it is asked for."""

import contextlib
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.slurm import jobs
from tests.slurm.run import ROOT, TINY
from wildrayzer.run.layout import RunLayout

STAGES = ("sources", "frames", "pretrain", "residuals", "pseudo_masks", "refine", "distill", "masked", "joint",
          "unmasked", "benchmark", "benchmark_masks", "tables", "report")  # fmt: skip
"""Rule files; those of ablations are the same again."""
TINY_RUN = ""
VARIANTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    TINY_RUN: ({}, ["all", "evaluation_index"]),
    "adopted": ({"pretrained": RunLayout("tiny").checkpoint("pretrain")}, ["pretrain"]),
    "scattered": ({"refine": {"shards": 2}}, ["refine"]),
    "jpeg": ({"data": {"store": {"train_codec": "jpeg"}}}, ["frames"]),
}
"""Runs by name: the options that differ from the tiny run's, and the targets."""
_ELSEWHERE = {"adopt_pretrained": "adopted", "refine_part": "scattered"}
"""Rules that the tiny run has no job of, and the run that has some."""


def rules() -> list[str]:
    """Rules of the workflow that run a script."""
    texts = [(ROOT / "workflow" / "rules" / f"{name}.smk") for name in STAGES]
    return [rule for text in texts for rule in re.findall(r"^ *rule (\w+):", text.read_text(), re.MULTILINE)]


def code_digest() -> str:
    """Stands for everything in the repository that decides a run's files."""
    digest = hashlib.sha256()
    for folder in ("wildrayzer", "workflow", "tests/resources"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and file.suffix in (".py", ".smk", ".yaml", ".html", ".css", ".js"):
                digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


class Reference:
    """The run in a folder that is kept between calls; one that other code has made is thrown away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._book = folder / "made.json"
        self._plans: dict[str, list[jobs.Job]] = {}
        self._made: list[str] = []
        if self._book.exists():
            noted = json.loads(self._book.read_text())
            if noted["code"] == code_digest():
                self._made = noted["made"]
            else:
                sys.stderr.write("the code has changed: the undisturbed run is made anew\n")
                jobs.remove(folder)

    def planned(self, run: str = TINY_RUN) -> list[jobs.Job]:
        """All jobs of the run, in an order in which they can run."""
        if run not in self._plans:
            if run == "adopted":
                self.job("train_pretrain")
            changes, targets = VARIANTS[run]
            named = {**changes, "name": run} if run else {}
            jobs.import_all()
            self._plans[run] = jobs.load_jobs(self.folder, configs=[TINY], changes=named, targets=targets)
        return self._plans[run]

    def job(self, rule: str, run: str | None = None) -> jobs.Job:
        """A job of the rule, the training split's where there are several; what it makes and all before it is there."""
        mine = [job for job in self.planned(_ELSEWHERE.get(rule, TINY_RUN) if run is None else run) if job.rule == rule]
        chosen = max(mine, key=lambda one: "dynamic_train" in str(one.given.output))
        self.make(chosen)
        return chosen

    def make(self, last: jobs.Job) -> Path:
        """The run's folder, with what a job makes and everything that leads to it."""
        wanted = self._ways_to(last)
        with contextlib.chdir(self.folder):
            for job in self._jobs():
                name = job.given.output[0]
                if name in wanted and name not in self._made:
                    job.run()
                    self._made.append(name)
                    self._book.write_text(json.dumps({"code": code_digest(), "made": self._made}))
        return self.folder

    def _ways_to(self, last: jobs.Job) -> set[str]:
        """First outputs of a job and of all that it depends on."""
        makers = {name: job for job in self._jobs() for name in job.given.output}
        found, ahead = set[str](), [last]
        while ahead:
            job = ahead.pop()
            found.add(job.given.output[0])
            ahead += [makers[n] for n in job.given.input if n in makers and makers[n].given.output[0] not in found]
        return found

    def _jobs(self) -> list[jobs.Job]:
        return [job for plan in self._plans.values() for job in plan]
