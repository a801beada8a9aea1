"""Several runs of one configuration, under different seeds or on different machines, side by side."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from wildrayzer.evaluation.tables.files import read_claims, read_summary
from wildrayzer.evaluation.tables.manifests import read_healths
from wildrayzer.io.validated import read_validated

_MACHINE = ("seed", "device", "processor", "threads", "torch", "wildrayzer")
_FIRST_STAGES = ("pretrain/checkpoint/manifest.json", "round1/distill/checkpoint/manifest.json")


@dataclass(frozen=True)
class Topic:
    """Rows that belong together."""

    title: str
    split: str
    region: str
    metric: str
    unit: str
    methods: tuple[str, ...]


_RENDERERS = ("nearest", "blend", "static", "static_true_masks", "static_clean", "distilled", "joint",
              "joint_true_masks", "joint_clean", "unmasked")  # fmt: skip
_MASKS = ("pseudo:renderer", "pseudo:renderer@dino_only", "pseudo:renderer@ssim_only", "refined:renderer",
          "residual:renderer", "pseudo:nearest", "pseudo:blurred", "leave_one_out",
          "head:distill", "head:joint")  # fmt: skip


def topics(splits: Sequence[str]) -> list[Topic]:
    """What is shown of the splits that were scored."""
    known = [Topic("Renderer, static clips", "static_test", "full", "psnr", "dB", _RENDERERS)]
    known += [
        Topic(f"Renderer, static clips, {name}", "static_test", "full", metric, "dB", _RENDERERS)
        for metric, name in (
            ("psnr_aligned", "targets cannot change input cameras"),
            ("psnr_transferred", "cameras of another clip"),
        )
    ]
    known += [
        Topic(
            f"Renderer, pairs, {region} region, against the clean frame", "pairs_test", region, "psnr", "dB", _RENDERERS
        )
        for region in ("static", "ghost")
    ]
    known.append(Topic("Renderer, dynamic clips, static region", "dynamic_test", "static", "psnr", "dB", _RENDERERS))
    for split, name in (
        ("dynamic_test", "moving actors"),
        ("same_family_test", "movers of the furniture's family"),
        ("frozen_test", "frozen actors"),
    ):
        known.append(Topic(f"Masks, {name}, IoU", split, "mask", "iou", "%", _MASKS))
    known.append(Topic("Masks, moving actors, J&F", "dynamic_test", "mask", "davis_jf", "%", _MASKS))
    for split, name in (("dynamic_test", "moving actors"), ("frozen_test", "frozen actors")):
        known.append(Topic(f"Masks, {name}, share of the actors' pixels marked", split, "mask", "recall", "%", _MASKS))
    for split, name in (
        ("dynamic_test", "moving actors"),
        ("frozen_test", "frozen actors"),
        ("static_test", "static clips"),
    ):
        known.append(Topic(f"Masks, {name}, share of the frame marked", split, "mask", "coverage", "%", _MASKS))
    return [topic for topic in known if topic.split in splits]


def compare_runs(runs: Sequence[str | Path]) -> str:
    """Markdown of several finished runs: a mean and its 95% interval over clips for each, then mean ± deviation of all.

    Before them come seed and machine of each run; after them every claim, with whether it holds in all runs.

    A row is shown with the fewest input views that all runs have scored it with.

    Args:
        runs: folders of runs, e.g. results/demo-0; those of equal names are shown by their paths.

    Raises:
        ValueError: a run without tables or scores, damaged ones, or a run given twice.
    """
    folders = _labelled(runs)
    summaries = {label: read_summary(folder / "tables") for label, folder in folders.items()}
    splits = sorted(set.intersection(*(set(summary["split"]) for summary in summaries.values())))
    parts = [_machines(folders), _cameras(folders)]
    for topic in topics(splits):
        lines = [line for method in topic.methods if (line := _row(topic, method, summaries)) is not None]
        if lines:
            several = len({inputs for inputs, _ in lines}) > 1
            rows = [[f"{row[0]} ({inputs} inputs)" if several else row[0], *row[1:]] for inputs, row in lines]
            parts.append(_table(f"{topic.title}, {topic.unit}", [*summaries, "over runs"], rows))
    parts.append(_claims(folders))
    return "\n\n".join(parts) + "\n"


def _labelled(runs: Sequence[str | Path]) -> dict[str, Path]:
    """Runs by the name of their folder, or by their path as given where a name stands for several."""
    paths = [Path(run).resolve() for run in runs]
    for place, path in enumerate(paths):
        if path in paths[:place]:
            raise ValueError(f"the run {runs[place]} is given twice; give every run once")
    names = [path.name for path in paths]
    return {str(run) if names.count(path.name) > 1 else path.name: path for run, path in zip(runs, paths, strict=True)}


def _row(topic: Topic, method: str, summaries: dict[str, pd.DataFrame]) -> tuple[int, list[str]] | None:
    """Number of input views and cells of a row; None where no number is scored in all runs."""
    of_runs = []
    for summary in summaries.values():
        wanted = summary["mean"].notna()
        for name in ("split", "region", "metric"):
            wanted &= summary[name] == getattr(topic, name)
        of_runs.append(summary[wanted & (summary["method"] == method)].set_index("inputs"))
    shared = set.intersection(*(set(means.index) for means in of_runs))
    if not shared:
        return None
    inputs, scale = int(min(shared)), 100.0 if topic.unit == "%" else 1.0
    intervals = [means.loc[inputs, ["mean", "low", "high"]].to_numpy(float) * scale for means in of_runs]
    cells = [f"{mean:.1f}" + ("" if np.isnan(low) else f" [{low:.1f}, {high:.1f}]") for mean, low, high in intervals]
    return inputs, [method, *cells, _spread([mean for mean, _, _ in intervals], 1)]


def _machines(folders: Mapping[str, Path]) -> str:
    """Seed of each run, and where its first training stage ran; runs of earlier versions do not say all of it."""
    columns = [_machine(folder) for folder in folders.values()]
    rows = [[name, *(str(column.get(name, "–")) for column in columns)] for name in _MACHINE]
    return _table("Runs", list(folders), rows)


class _Rounding(BaseModel):
    options: dict[str, Any] = Field(default_factory=dict)


class _Extra(BaseModel):
    seed: int | None = None
    rounding: list[_Rounding] = Field(default_factory=list)


class _Manifest(BaseModel):
    """What of a checkpoint's manifest tells where the run was trained; read without torch."""

    extra: _Extra = Field(default_factory=_Extra)
    versions: dict[str, str] = Field(default_factory=dict)


def _machine(folder: Path) -> dict[str, Any]:
    path = next((folder / stage for stage in _FIRST_STAGES if (folder / stage).is_file()), None)
    about = _Manifest() if path is None else read_validated(path, _Manifest, fix="copy the run again")
    rounding = about.extra.rounding[0].options if about.extra.rounding else {}
    known = {
        "seed": about.extra.seed,
        "device": rounding.get("compute.device"),
        "threads": rounding.get("threads"),
        **{name: about.versions.get(name) for name in ("processor", "torch", "wildrayzer")},
    }
    return {name: value for name, value in known.items() if value is not None}


def _cameras(folders: Mapping[str, Path]) -> str:
    healths = read_healths(folder / "scores" / "renderer.json" for folder in folders.values())
    known = [set(health["camera_r2"]) for health in healths if health["camera_r2"]]  # null without true cameras
    rows = []
    for name in sorted(set.intersection(*known)) if known else []:
        values = [float(health["camera_r2"][name]) if health["camera_r2"] else np.nan for health in healths]
        cells = ["–" if np.isnan(value) else f"{value:.2f}" for value in values]
        rows.append([f"R² of {name}", *cells, "–" if "–" in cells else _spread(values, 2)])
    accuracies = [health.get("pose_accuracy") or {} for health in healths]
    for name in dict.fromkeys(name for one in accuracies for name in one):
        values = [float(one.get(name, np.nan)) for one in accuracies]
        cells = ["–" if np.isnan(value) else f"{100 * value:.1f}" for value in values]
        rows.append(
            [
                f"{name.upper().replace('_', '@')}, %",
                *cells,
                "–" if "–" in cells else _spread([100 * value for value in values], 1),
            ]
        )
    for name, text in (("reordered", "frames in another order, dB"), ("swapped", "another target's pose, dB")):
        values = [float(health["figures"][name]["mean"]) for health in healths]
        rows.append([text, *(f"{value:+.2f}" for value in values), _spread(values, 2)])
    return _table("Cameras of the static renderer", [*folders, "over runs"], rows)


def _claims(folders: Mapping[str, Path]) -> str:
    """Every claim that a run has measured; a dash where another has not."""
    runs = []
    for folder in folders.values():
        claims = read_claims(folder / "tables").to_dict("records")
        runs.append({(claim["claim"], claim["where"], claim["compared"]): claim for claim in claims})
    rows = []
    for key in dict.fromkeys(key for run in runs for key in run):
        claim, where, compared = key
        cells = [_verdict(run[key]) if key in run else "–" for run in runs]
        verdicts = {run[key]["verdict"] if key in run else "–" for run in runs}
        rows.append([f"{claim} ({where}: {compared})", *cells, "yes" if verdicts == {"holds"} else "no"])
    return _table("Claims, difference with its 95% interval", [*folders, "holds in all"], rows)


def _verdict(claim: Mapping[Hashable, Any]) -> str:
    mean, low, high = (float(claim.get(name, np.nan)) for name in ("mean", "low", "high"))
    if np.isnan(mean):
        return str(claim["verdict"])
    interval = "" if np.isnan(low) else f" [{low:.3g}, {high:.3g}]"
    return f"{claim['verdict']} ({mean:+.3g}{interval})"


def _spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation; one run has no deviation."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"### {title}", "", "| | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
