"""Several runs of one configuration under different seeds, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wildrayzer.provenance import read_json


@dataclass(frozen=True)
class Topic:
    """Rows of the seeds table that belong together."""

    title: str
    split: str
    region: str
    metric: str
    unit: str
    methods: tuple[str, ...]


_RENDERERS = ("nearest", "blend", "static", "static_true_masks", "static_clean", "distilled", "joint",
              "joint_true_masks", "joint_clean", "unmasked")  # fmt: skip
_MASKS = ("pseudo:renderer", "pseudo:renderer@dino_only", "pseudo:renderer@ssim_only", "refined:renderer",
          "residual:renderer", "pseudo:nearest", "pseudo:blurred", "head:distill", "head:joint")  # fmt: skip


def topics(splits: Sequence[str]) -> list[Topic]:
    """What the seeds table shows of the splits that were scored."""
    found = [Topic("Renderer, static clips", "static_test", "full", "psnr", "dB", _RENDERERS)]
    found += [
        Topic(
            f"Renderer, pairs, {region} region, against the clean frame", "pairs_test", region, "psnr", "dB", _RENDERERS
        )
        for region in ("static", "ghost")
    ]
    found.append(Topic("Renderer, dynamic clips, static region", "dynamic_test", "static", "psnr", "dB", _RENDERERS))
    for split, name in (
        ("dynamic_test", "moving actors"),
        ("same_family_test", "movers of the furniture's family"),
        ("frozen_test", "frozen actors"),
    ):
        found.append(Topic(f"Masks, {name}, IoU", split, "mask", "iou", "%", _MASKS))
    for split, name in (("dynamic_test", "moving actors"), ("frozen_test", "frozen actors")):
        found.append(Topic(f"Masks, {name}, share of the actors' pixels marked", split, "mask", "recall", "%", _MASKS))
    for split, name in (
        ("dynamic_test", "moving actors"),
        ("frozen_test", "frozen actors"),
        ("static_test", "static clips"),
    ):
        found.append(Topic(f"Masks, {name}, share of the frame marked", split, "mask", "coverage", "%", _MASKS))
    return [topic for topic in found if topic.split in splits]


def seeds_table(runs: Sequence[str | Path]) -> str:
    """Markdown of several finished runs: a mean and its 95% interval over clips for each, then mean ± deviation of all.

    Args:
        runs: folders of runs, e.g. results/demo-0.

    Raises:
        ValueError: a run without tables.
    """
    folders = [Path(run) for run in runs]
    summaries = {folder.name: _summary(folder) for folder in folders}
    splits = sorted(set.intersection(*(set(summary["split"]) for summary in summaries.values())))
    parts = [_cameras(folders)]
    for topic in topics(splits):
        rows = [row for method in topic.methods if (row := _row(topic, method, summaries)) is not None]
        if rows:
            parts.append(_table(f"{topic.title}, {topic.unit}", [*summaries, "over seeds"], rows))
    parts.append(_claims(folders))
    return "\n\n".join(parts) + "\n"


def _summary(folder: Path) -> pd.DataFrame:
    path = folder / "tables" / "summary.csv"
    if not path.is_file():
        raise ValueError(f"{path} is missing; finish the run {folder} first (target `benchmark_tables`)")
    return pd.read_csv(path)


def _row(topic: Topic, method: str, summaries: dict[str, pd.DataFrame]) -> list[str] | None:
    scale = 100.0 if topic.unit == "%" else 1.0
    cells, means = [], []
    for summary in summaries.values():
        wanted = (
            (summary["split"] == topic.split)
            & (summary["method"] == method)
            & (summary["region"] == topic.region)
            & (summary["metric"] == topic.metric)
        )
        found = summary[wanted & (summary["inputs"] == summary["inputs"].min())]
        if found.empty or found["mean"].isna().all():
            return None
        mean, low, high = (float(found[name].iloc[0]) * scale for name in ("mean", "low", "high"))
        cells.append(f"{mean:.1f} [{low:.1f}, {high:.1f}]")
        means.append(mean)
    return [method, *cells, _spread(means, 1)]


def _cameras(folders: Sequence[Path]) -> str:
    healths = [read_json(folder / "scores" / "renderer.json") for folder in folders]
    names = sorted(set.intersection(*(set(health["camera_r2"]) for health in healths)))
    rows = []
    for name in names:
        values = [float(health["camera_r2"][name]) for health in healths]
        rows.append([f"R² of {name}", *(f"{value:.2f}" for value in values), _spread(values, 2)])
    for name, text in (("reordered", "frames in another order, dB"), ("swapped", "another target's pose, dB")):
        values = [float(health["figures"][name]["mean"]) for health in healths]
        rows.append([text, *(f"{value:+.2f}" for value in values), _spread(values, 2)])
    return _table("Cameras of the static renderer", [*(folder.name for folder in folders), "over seeds"], rows)


def _claims(folders: Sequence[Path]) -> str:
    claims = [pd.read_csv(folder / "tables" / "claims.csv") for folder in folders]
    rows = []
    for _, claim in claims[0].iterrows():
        cells = []
        for run in claims:
            same = (run["claim"] == claim["claim"]) & (run["where"] == claim["where"])
            found = run[same & (run["compared"] == claim["compared"])].iloc[0]
            value = (
                "" if pd.isna(found["mean"]) else f" ({found['mean']:+.3g} [{found['low']:.3g}, {found['high']:.3g}])"
            )
            cells.append(f"{found['verdict']}{value}")
        rows.append([f"{claim['claim']} ({claim['where']}: {claim['compared']})", *cells])
    return _table("Claims, difference with its 95% interval", [folder.name for folder in folders], rows)


def _spread(values: Sequence[float], digits: int) -> str:
    series = pd.Series(values)
    return f"{series.mean():.{digits}f} ± {series.std(ddof=1) if len(series) > 1 else 0.0:.{digits}f}"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"### {title}", "", "| | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
