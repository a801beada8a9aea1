"""The manifests beside score files, and the static renderer's health, checked as they are read. Needs no torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from wildrayzer.evaluation.metrics.bootstrap import Interval
from wildrayzer.io.files import read_json
from wildrayzer.io.validated import validated

SCHEMA = 1
_FIX = "delete it and run the benchmark stage again"


class _Counts(BaseModel):
    """What a score file holds; the first versions wrote no number of rows."""

    rows: int | None = None
    scenes: int
    frames: int
    nan: dict[str, int]


class _ResidualThreshold(BaseModel):
    value: float
    choice: str


class _Windows(BaseModel):
    """What `describe_windows` writes."""

    index: str | None
    digest: str
    scenes: int
    unused: int


class _ScoreManifest(BaseModel):
    """What tables and their notes take from the manifest of a score file; writers have more to say."""

    kind: Literal["views", "masks"]
    method: str
    split: str
    inputs: int
    definitions: dict[str, str] = Field(default_factory=dict)
    regions: dict[str, str] = Field(default_factory=dict)
    lpips: str = "scored"
    residual_threshold: _ResidualThreshold | None = None
    mask_threshold: float | None = None
    gate: str | None = None
    precision: str | None = None
    evaluation_windows: _Windows | None = None
    scenes_of_split: int
    skipped_scenes: dict[str, str]
    scenes_without_files: int = 0
    digests: dict[str, Any]
    counts: _Counts
    scores_digest: str | None = None


class _RendererHealth(BaseModel):
    """What `score_renderer_health` writes."""

    kind: Literal["health"]
    split: str
    inputs: int
    windows: int
    figures: dict[str, Interval]
    definitions: dict[str, str]
    camera_r2: dict[str, float] | None
    pose_accuracy: dict[str, float] | None = None
    evaluation_windows: _Windows | None = None
    camera_spread: float

    @model_validator(mode="after")
    def _all_are_there(self) -> "_RendererHealth":
        lacking = {"psnr", "reordered", "swapped"} - self.figures.keys() | self.figures.keys() - self.definitions.keys()
        if lacking:
            raise ValueError(f"figures or definitions lack {', '.join(sorted(lacking))}")
        return self


def read_manifests(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Read the manifests beside score files.

    Raises:
        ValueError: a file is missing, broken or of another schema; file and fields are named.
    """
    return [_checked(path, _ScoreManifest) for path in paths]


def read_healths(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Read results of `score_renderer_health`.

    Raises:
        ValueError: as `read_manifests`.
    """
    return [_checked(path, _RendererHealth) for path in paths]


def _checked(path: str | Path, kind: type[BaseModel]) -> dict[str, Any]:
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such manifest; run the benchmark stage first")
    raw = read_json(path, fix=_FIX)
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise ValueError(f"{path}: not a score manifest of schema {SCHEMA}; run the benchmark stage again")
    validated(raw, kind, source=path, fix=_FIX)
    return raw
