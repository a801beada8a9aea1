"""Training figures as JSON lines: one object a record, with `kind` and `step`."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wildrayzer.io.files import write_bytes_atomic
from wildrayzer.training.sinks import Sink


class MetricsLog:
    """Appends records and, on resume, drops those that a lost part of the run had written.

    Args:
        path: of the file.
        sinks: what else gets every record, and the pictures.
    """

    def __init__(self, path: Path, *, sinks: Sequence[Sink] = ()) -> None:
        self.path = path
        self.sinks = sinks

    def write(self, kind: str, step: int, values: dict[str, float]) -> dict[str, float]:
        """Append one record; its numbers keep six significant digits. Returns them."""
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        record = {"kind": kind, "step": step, "time": round(time.time(), 1), **rounded}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as stream:
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

    def truncate(self, step: int) -> list[dict[str, Any]]:
        """Keep the records up to `step`, and return them; a half-written last line goes too."""
        if not self.path.exists():
            return []
        kept, records = [], []
        for line in self.path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                break
            if record["step"] <= step:
                kept.append(line + "\n")
                records.append(record)
        write_bytes_atomic(self.path, "".join(kept).encode())
        return records


def read_metrics(path: str | Path, kind: str) -> list[dict[str, Any]]:
    """All records of one kind, in order."""
    records = (json.loads(line) for line in Path(path).read_text().splitlines())
    return [record for record in records if record["kind"] == kind]
