"""The model card of a checkpoint: what it is, its data and their licences, deviations, figures beside controls."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import ModelCardData
from pydantic import BaseModel, Field

from wildrayzer.checkpoint import CheckpointManifest
from wildrayzer.datasets.table import SourceTable, load_table
from wildrayzer.evaluation.tables.files import read_summary
from wildrayzer.io.validated import read_validated
from wildrayzer.tools.render.checks import why_static

_ROWS = {"pretrain": "static"}
"""Row of the tables of a stage, where it has another name."""
_CONTROLS = ("nearest", "static", "unmasked")
_MASK_CONTROLS = ("residual:renderer", "pseudo:renderer", "refined:renderer")
_METRICS = {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS", "iou": "IoU", "coverage": "coverage"}
_CARD = """---
{header}
---

# {title}

{what}

```python
import wildrayzer as wr

model = wr.load("{repository}")
model.render("photos").save("views")
```

{notes}## Checkpoint

| | |
| --- | --- |
{facts}

## Data

{data}

## Licence

{licence}

## Deviations from the paper

{deviations}

## Figures and controls

{figures}
"""


def model_card(
    folder: Path, manifest: CheckpointManifest, *, repository: str, licence: str, notes: str | None = None
) -> str:
    """The card as Markdown with the hub's metadata in front.

    Args:
        folder: the checkpoint; in the folder of a run (`results/NAME/…`), its tables give the figures.
        manifest: what the checkpoint is.
        repository: OWNER/NAME on the hub.
        licence: of the weights.
        notes: text below the introduction.
    """
    header = ModelCardData(
        license=licence, library_name="wildrayzer", tags=["novel-view-synthesis", "self-supervised", manifest.stage]
    )
    static = why_static(manifest)
    what = (
        f"Renders novel views from a few unposed photos; it removes nothing that moves, because it {static}."
        if static
        else "Renders novel views from a few unposed photos and removes what moves."
    )
    return _CARD.format(
        header=header.to_yaml(),
        title=repository.partition("/")[2],
        what=f"{what} A checkpoint of WildRayZer, the pipeline, an independent implementation of the method.",
        repository=repository,
        notes=f"{notes}\n\n" if notes else "",
        facts="\n".join(f"| {name} | {value} |" for name, value in _facts(manifest)),
        data=_data(manifest, load_table()),
        licence=f"The weights: {licence}. The licences of the data above apply to what was learned from them. "
        "The code that loads them: Apache-2.0.",
        deviations=_deviations(manifest),
        figures=_figures(folder, manifest),
    )


def _facts(manifest: CheckpointManifest) -> list[tuple[str, str]]:
    model, extra = manifest.model, manifest.extra
    facts = [
        ("stage", f"{manifest.stage}, {manifest.step} steps"),
        ("size", f"{model.image_size} px, patches of {model.patch_size} px, width {model.width}"),
        ("input views", ", ".join(map(str, manifest.inputs))),
        ("weights", f"digest {manifest.weights_digest}; parent {manifest.parent or 'none'}"),
        ("configuration", f"digest {manifest.config_digest}"),
        ("features of the motion head", str(extra.get("features") or "none")),
        ("seed", str(extra.get("seed", "not recorded"))),
    ]
    if "file" in manifest.source:
        facts.append(("imported from", f"{manifest.source['file']}, digest {manifest.source.get('digest')}"))
    return facts


def _data(manifest: CheckpointManifest, table: SourceTable) -> str:
    sets: list[Mapping[str, Any]] = list(manifest.extra.get("data") or [])
    if not sets:
        return "Not recorded in the manifest."
    return "\n".join(f"- {_data_set(one, table)}" for one in sets)


def _data_set(one: Mapping[str, Any], table: SourceTable) -> str:
    text = f"`{one['split']}`, {one['clips']} clips, {one['frames']} frames, digest {one['digest']}"
    place = table.at(one["path"]) if one.get("path") else None
    if place is not None:
        source = table.sources[place[0]]
        return f"{text}: [{source.title}]({source.home}), licence: {source.licence or 'not stated by its owners'}"
    if one.get("layout") == "embedded":
        return f"{text}: procedural rooms that this project generates"
    return f"{text}: data of the uploader's own; their licence is not recorded"


def _deviations(manifest: CheckpointManifest) -> str:
    named = manifest.extra.get("deviations")
    if named is None:
        return "Not recorded in the manifest."
    return "\n".join(f"- `{one}`" for one in named) or "None in the network."


def _figures(folder: Path, manifest: CheckpointManifest) -> str:
    tables = _tables(folder)
    if tables is None:
        return "The checkpoint was uploaded without the tables of a run."
    own = _ROWS.get(manifest.stage, manifest.stage)
    if _scored(tables.parent, own) - {manifest.weights_digest}:
        return "The tables of the run scored other weights of this stage; they were left out."
    summary = read_summary(tables)
    parts = [
        _pivot(summary, own, _CONTROLS, ("psnr", "ssim", "lpips")),
        _pivot(summary, f"head:{own}", _MASK_CONTROLS, ("iou", "coverage")),
    ]
    shown = [part for part in parts if part]
    if not shown:
        return f"The tables of the run have no rows of {own}."
    lead = "Means over scenes ± standard errors: this checkpoint first, then controls of the same run."
    return "\n\n".join([lead, *shown])


def _tables(folder: Path) -> Path | None:
    """The tables of the run that a checkpoint lies in: RUN/pretrain/checkpoint or RUN/roundN/STAGE/checkpoint."""
    parents = folder.resolve().parents
    found = (parent / "tables" for parent in parents[1:3] if (parent / "tables" / "summary.csv").is_file())
    return next(found, None)


class _Scored(BaseModel):
    """What a manifest of scores says about their origin; the renderer's health has no method."""

    method: str | None = None
    digests: dict[str, Any] = Field(default_factory=dict)


def _scored(run: Path, own: str) -> set[str]:
    """Digests of the weights that a run scored under the name of a stage."""
    files = (run / "scores").rglob("*.json")
    manifests = [read_validated(file, _Scored, fix="run the benchmark stage again") for file in files]
    named = [one for one in manifests if one.method in (own, f"head:{own}")]
    return {str(one.digests["checkpoint"]) for one in named if "checkpoint" in one.digests}


def _pivot(summary: pd.DataFrame, own: str, controls: tuple[str, ...], metrics: tuple[str, ...]) -> str:
    """A Markdown table of a row beside its controls; empty if there are no figures of the row."""
    rows = summary[summary["metric"].isin(metrics) & summary["mean"].notna()]
    methods = [own, *(name for name in controls if name != own and name in set(rows["method"]))]
    cells = {
        (str(one["split"]), f"{one['inputs']}", str(one["region"]), str(one["metric"]), str(one["method"])): (
            f"{one['mean']:.3f} ± {one['error']:.3f}"
        )
        for one in rows.to_dict("records")
    }
    keys = [key[:4] for key in cells if key[4] == own]
    if not keys:
        return ""
    head = ["split", "inputs", "region", "metric", *methods]
    lines = [[*key[:3], _METRICS[key[3]], *(cells.get((*key, method), "–") for method in methods)] for key in keys]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])
