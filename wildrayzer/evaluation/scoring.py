"""What the scoring jobs share: the set that a job scores, its score files, and the check of the number of inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.evaluation.tables.scores import rows_of


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """The set that a job scores, and the score files that it writes."""

    split: str
    """Name of the set in the tables and in `benchmark.index`."""
    inputs: int
    """Input views of a window."""
    store_path: str | Path
    """Frames of the set's split."""
    scores: str | Path
    """CSV file of tidy rows to write."""
    manifest: str | Path
    """JSON file to write beside it: definitions, numbers of scenes, frames and NaN, digests."""
    variant: str | None = None
    """Ablation that the scores belong to, whose rows are called `ROW@VARIANT`; None for the run itself."""

    def label(self, row: str) -> str:
        """Name of a row in the scores."""
        return row if self.variant is None else f"{row}@{self.variant}"

    def rows(
        self,
        row: str,
        values: Mapping[str, Mapping[str, Sequence[float]]],
        *,
        scenes: Sequence[str],
        frames: Sequence[int],
    ) -> list[tuple[Any, ...]]:
        """Tidy rows of `{region: {metric: value of each frame}}`; see `rows_of`."""
        return rows_of(
            values, method=self.label(row), split=self.split, inputs=self.inputs, scenes=scenes, frames=frames
        )

    def about(self, row: str, *, kind: str, stage_version: int) -> dict[str, Any]:
        """Entries that every manifest starts with; `kind` is views or masks."""
        return {
            "kind": kind,
            "stage_version": stage_version,
            "method": self.label(row),
            "split": self.split,
            "inputs": self.inputs,
        }


def is_forced(inputs: int, trained: tuple[int, ...] | None, *, name: str, config: BenchmarkConfig) -> bool:
    """Whether a network is scored with a number of input views that it was not trained for; the tables flag it.

    Args:
        inputs: input views of the windows.
        trained: numbers of input views that the network was trained for; None without a network.
        name: the checkpoint, or the row, for the message.
        config: the `benchmark` section, whose `force_inputs` allows it.

    Raises:
        ValueError: `force_inputs` is off.
    """
    if trained is None or inputs in trained:
        return False
    if not config.force_inputs:
        raise ValueError(
            f"benchmark.inputs = {inputs}: {name} was trained with {list(trained)} input views; score those, or set "
            "benchmark.force_inputs: true and have the tables flag it"
        )
    return True
