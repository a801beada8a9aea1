"""What a stage shows while it runs: metrics as JSON lines, TensorBoard, Weights & Biases, and its progress.

`metrics.jsonl` is always written, one object per record with `kind` and `step`; the others are optional.
"""

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from wildrayzer.checkpoint import MANIFEST_NAME, read_manifest
from wildrayzer.config.sections.watch import WatchConfig
from wildrayzer.io.digests import digest_file, digest_json
from wildrayzer.io.files import write_bytes_atomic

logger = logging.getLogger(__name__)
_LINE_SECONDS = 20.0
_FIX = "delete the file and run its training stage again, which writes it from the last resume state"


@runtime_checkable
class Sink(Protocol):
    """Receives metrics and pictures of a stage as they are made."""

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Metrics of a step; `kind` is train, validation or health."""

    def picture(self, name: str, step: int, path: Path) -> None:
        """A PNG file of a step."""

    def close(self) -> None:
        """Write what is buffered."""


class MetricsLog:
    """Appends records and, on resume, drops those of steps that were lost.

    Args:
        path: of the file.
        sinks: what else receives every record, and the pictures.
    """

    def __init__(self, path: Path, *, sinks: Sequence[Sink] = ()) -> None:
        self.path = path
        self.sinks = sinks

    def write(self, kind: str, step: int, values: dict[str, float]) -> dict[str, float]:
        """Append one record; its numbers keep six significant digits. Returns them."""
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        record = {"kind": kind, "step": step, "time": round(time.time(), 1), **rounded}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
        for sink in self.sinks:
            sink.write(kind, step, rounded)
        return rounded

    def pictures(self, step: int) -> None:
        """Hand the pictures of a step, `pictures/NAME-STEP.png` beside the file, to the sinks."""
        for path in sorted(self.path.parent.glob(f"pictures/*-{step:09d}.png")):
            for sink in self.sinks:
                sink.picture(path.stem.rpartition("-")[0], step, path)

    def close(self) -> None:
        """Close the sinks."""
        for sink in self.sinks:
            sink.close()

    def mark(self) -> dict[str, Any]:
        """Length and SHA-256 of the file as it is, which a resume state keeps for `truncate`."""
        content = self.path.read_bytes() if self.path.exists() else b""
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def truncate(self, step: int, mark: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Keep the records up to `step`, and return them. A half-written last line goes too.

        Args:
            step: of the resume state.
            mark: `mark` as it was then; states of earlier versions have none. If the records do not fit it, the log
                says what was lost.
        """
        content = self.path.read_bytes() if self.path.exists() else b""
        if mark is not None:
            whole = hashlib.sha256(content[: mark["bytes"]]).hexdigest() == mark["sha256"]
            content = content[: mark["bytes"]] if whole else content
        lines = content.splitlines()
        records = [_record(line) for line in lines]
        unreadable = [number for number, record in enumerate(records, 1) if record is None]
        if mark is not None and not whole:
            logger.warning(
                "%s changed or was cut since step %d was saved: %d lines cannot be read (%s) and are lost, others may "
                "be changed or missing; weights are not affected",
                self.path,
                step,
                len(unreadable),
                ", ".join(map(str, unreadable)) or "none",
            )
        elif any(number < len(lines) for number in unreadable):
            logger.warning("%s: lines %s cannot be read and are lost", self.path, unreadable)
        kept = [
            (line, record)
            for line, record in zip(lines, records, strict=True)
            if record is not None and record["step"] <= step
        ]
        if self.path.exists():
            write_bytes_atomic(self.path, b"".join(line + b"\n" for line, _ in kept))
        return [record for _, record in kept]


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None if it is not one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    good = isinstance(record, dict) and type(record.get("step")) is int and isinstance(record.get("kind"), str)
    return record if good else None


def read_metrics(path: str | Path, kind: str) -> list[dict[str, Any]]:
    """All records of one kind, in order.

    Raises:
        ValueError: a line is not a record, or the file of a finished stage has changed; file and line are named.
    """
    records = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        record = _record(line)
        if record is None:
            raise ValueError(f"{path}: line {number} is damaged; {_FIX}")
        records.append(record)
    _check_whole(Path(path))
    return [record for record in records if record["kind"] == kind]


def _check_whole(path: Path) -> None:
    """Compare the metrics of a finished stage with the digest in the manifest of its checkpoint, beside the file.

    Manifests of earlier versions hold no digest: their metrics are read unchecked.
    """
    checkpoint = path.parent / "checkpoint"
    if not (checkpoint / MANIFEST_NAME).is_file():
        return
    expected = read_manifest(checkpoint).extra.get("metrics_digest")
    if expected is not None and digest_file(path) != expected:
        raise ValueError(f"{path} has changed since its stage finished: {checkpoint} names another digest; {_FIX}")


def open_sinks(config: WatchConfig, folder: Path, *, name: str) -> list[Sink]:
    """The sinks that the configuration asks for.

    They open at the first record: the stage has not claimed `folder` yet, and would take one that exists for that of
    another stage.

    Args:
        config: the `watch` section.
        folder: of the stage's resume states; events go to folders in it.
        name: of the run in Weights & Biases.

    Raises:
        ValueError: a package is missing; the message names it.
    """
    sinks: list[Sink] = []
    if config.tensorboard:
        sinks.append(TensorBoard(folder / "tensorboard"))
    if config.wandb is not None:
        sinks.append(WeightsAndBiases(folder, mode=config.wandb, project=config.wandb_project, name=name))
    return sinks


class TensorBoard:
    """Event files. Those of a lost part of a resumed run are purged by the viewer."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                "watch.tensorboard: true needs the package tensorboard; pip install tensorboard, or set it to false"
            ) from None
        self._open, self._folder = SummaryWriter, folder
        self._writer: Any = None

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """One scalar per metric, named KIND/METRIC."""
        for name, value in values.items():
            self._writing(step).add_scalar(f"{kind}/{name}", value, step)

    def picture(self, name: str, step: int, path: Path) -> None:
        """One picture."""
        import cv2

        pixels = cv2.imread(str(path))
        assert pixels is not None
        self._writing(step).add_image(name, pixels[..., ::-1].copy(), step, dataformats="HWC")

    def close(self) -> None:
        """Write what is buffered."""
        if self._writer is not None:
            self._writer.close()

    def _writing(self, step: int) -> Any:
        if self._writer is None:
            self._writer = self._open(str(self._folder), purge_step=step)
        return self._writer


class WeightsAndBiases:
    """A run of Weights & Biases; a resumed stage continues the same one."""

    def __init__(self, folder: Path, *, mode: str, project: str, name: str) -> None:
        if mode == "offline":  # reports of its own errors would be sent even so; read at import
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        try:
            import wandb
        except ImportError:
            raise ValueError(
                f"watch.wandb: {mode} needs the package wandb; pip install wandb, or set it to null"
            ) from None
        self._wandb, self._folder = wandb, folder
        self._options = {"mode": mode, "project": project, "name": name}
        self._run: Any = None

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """One record, metrics named KIND/METRIC."""
        self._running().log({f"{kind}/{name}": value for name, value in values.items()}, step=step)

    def picture(self, name: str, step: int, path: Path) -> None:
        """One picture."""
        self._running().log({name: self._wandb.Image(str(path))}, step=step)

    def close(self) -> None:
        """Write what is buffered and end the run."""
        if self._run is not None:
            self._run.finish()

    def _running(self) -> Any:
        if self._run is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            run_id = digest_json([str(self._folder.resolve())])
            self._run = self._wandb.init(dir=str(self._folder), id=run_id, resume="allow", **self._options)
        return self._run


class StageProgress:
    """Progress of a stage: a bar with speed and time left on a terminal, a line every 20 seconds in a log file.

    A context manager; call `advance` once per step.
    """

    def __init__(self, name: str, start: int, total: int, *, shown: bool) -> None:
        self.name, self.start, self.done, self.total = name, start, start, total
        self.interactive = shown and sys.stderr.isatty()
        self.logged = shown and not self.interactive
        self.begun = self.last_line = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=Console(stderr=True),
            disable=not self.interactive,
        )
        self.task = self.bar.add_task(name, total=total, completed=start, metrics="")

    def __enter__(self) -> "StageProgress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self, metrics: Mapping[str, Any]) -> None:
        """Count one more step; `metrics['loss']` is a tensor, read only when something is shown."""
        self.done += 1
        now = time.monotonic()
        if now - self.last_line < (1.0 if self.interactive else _LINE_SECONDS) and self.done < self.total:
            return
        self.last_line = now
        speed = (self.done - self.start) / (now - self.begun)
        left = (self.total - self.done) / speed
        text = f"loss {metrics['loss'].item():.4f}, {speed:.1f} steps/s"
        if self.interactive:
            self.bar.update(self.task, completed=self.done, metrics=text)
        elif self.logged:
            logger.info("%s %d/%d, %s, %.0f s left", self.name, self.done, self.total, text, left)
