"""Tables from scores: a pure function of score files, manifests and configuration. Needs no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from wildrayzer.config.sections.released import ReleasedConfig
from wildrayzer.config.sections.run import RunConfig
from wildrayzer.config.variants import ablations_of
from wildrayzer.datasets.table import load_table
from wildrayzer.evaluation.metrics.bootstrap import bootstrap_mean
from wildrayzer.evaluation.tables.claims import Finding, check_claims
from wildrayzer.evaluation.tables.notes import DAVIS_METRICS
from wildrayzer.evaluation.tables.paper import ablation_table, paper_table
from wildrayzer.evaluation.tables.protocols import RELEASE_REGION, protocol_table, table_head
from wildrayzer.evaluation.tables.released import released_table
from wildrayzer.evaluation.tables.rows import (
    FIELDS,
    MASK_METHODS,
    Table,
    claims_table,
    davis_table,
    health_tables,
    split_table,
)
from wildrayzer.run.row_specs import takes_cameras


@dataclass(frozen=True)
class TableContext:
    """What the tables say about a run besides its scores."""

    run: str
    """Name of the run."""
    backbone: str
    """Feature backbone."""
    perceptual: str
    """Perceptual loss."""
    deviations: tuple[str, ...]
    """Options that differ from the paper."""
    kinds: Mapping[str, str]
    """Kind of each split that is scored: static, moving, pairs, frozen or same_family."""
    outside: frozenset[str]
    """Splits that come from outside; published metrics are shown only beside these."""
    resamples: int
    """Bootstrap draws."""
    seed: int
    """Seed of the bootstrap."""
    ablations: Mapping[str, str] = field(default_factory=dict)
    """What each ablation changes, in words."""
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Sentences on the rows that a set cannot have, by set."""
    published: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """Published evaluation index of each set, by number of input views."""
    released: ReleasedConfig | None = None
    """A public checkpoint that is compared with its published figures."""
    oracles: tuple[str, ...] = ()
    """Rows of that checkpoint with the oracle gate."""

    @classmethod
    def from_config(cls, config: RunConfig) -> "TableContext":
        """The context of a configured run."""
        features, checkpoints = config.features, config.benchmark.checkpoints
        splits = {name: name for name, split in config.data.splits.items() if split.purpose in ("test", "control")}
        sets = {**splits, **{name: one.split for name, one in config.benchmark.sets.items()}}
        return cls(
            run=config.name,
            backbone=(
                "none"
                if not (config.learns_motion or any(one.gate == "own" for one in checkpoints.values()))
                else features.name
            ),
            perceptual=config.perceptual.kind,
            deviations=config.deviations,
            kinds={name: split_kind(config, split) for name, split in sets.items()},
            outside=frozenset(n for n, split in sets.items() if config.data.splits[split].layout != "embedded"),
            resamples=config.benchmark.bootstrap,
            seed=config.benchmark.seed,
            ablations={
                name: "; ".join(f"{option}: {json.dumps(value)}" for option, value in ablation.changes.items())
                for name, ablation in ablations_of(config).items()
            },
            left_out={name: rows_without_cameras(config, split) for name, split in sets.items()},
            published={name: _published(config, name, split) for name, split in sets.items()},
            released=config.released,
            oracles=tuple(
                row for row, one in checkpoints.items() if one.gate == "true" and one.path == config.imported
            ),
        )


def _published(config: RunConfig, name: str, split: str) -> dict[int, str]:
    source = config.data.splits[split].source
    if source is None:
        return {}
    table = load_table(config.data.sources)
    places = {count: table.published_indices(source, count) for count in config.benchmark.inputs_of(name)}
    return {count: found[0] for count, found in places.items() if found}


def rows_without_cameras(config: RunConfig, split: str) -> tuple[str, ...]:
    """A sentence for every row that needs true cameras, where a split has none."""
    if config.data.splits[split].has_cameras:
        return ()
    rows = [row for row in config.benchmark.checkpoints if takes_cameras(row, config.benchmark)]
    return tuple(f"{row} needs true cameras, which this set has none of: it is not scored." for row in rows)


def split_kind(config: RunConfig, split: str) -> str:
    """What a split is for the tables: its role, or which control of the embedded set it is."""
    section, embedded = config.data.splits[split], config.data.embedded
    if section.layout == "embedded" and embedded is not None:
        made = embedded.splits[split]
        if made.frozen:
            return "frozen"
        if made.movers == "furniture":
            return "same_family"
    return "moving" if section.role == "dynamic" else section.role


@dataclass(frozen=True)
class Tables:
    """All tables of a run."""

    context: TableContext
    """The run."""
    tables: tuple[Table, ...]
    """View synthesis, masks, renderer, claims."""
    summary: pd.DataFrame
    """Every mean with its interval, tidy: split, inputs, method, region, metric, mean, low, high, error, counts."""
    findings: tuple[Finding, ...] = field(default=())
    """The claims, measured."""


def build_tables(
    scores: pd.DataFrame,
    manifests: Sequence[Mapping[str, Any]],
    healths: Sequence[Mapping[str, Any]],
    context: TableContext,
) -> Tables:
    """All tables of a run.

    Rows of one table are compared on the frames that all of them have: what only some were scored on is left out, and
    a note says so.

    Args:
        scores: tidy scores of all files.
        manifests: manifests beside them.
        healths: results of `score_renderer_health`.
        context: the run.

    Raises:
        ValueError: scores of a split that the run does not test, or with nothing but NaN.
    """
    unknown = sorted(set(scores["split"]) - set(context.kinds))
    if unknown:
        raise ValueError(
            f"scores of the splits {unknown}, which this run does not test (known: {sorted(context.kinds)}); "
            "pass the run's own score files"
        )
    if not np.isfinite(scores["value"]).any():
        raise ValueError("all scores are NaN: the splits have no pixel to score; check their masks")
    common, dropped = intersect(scores)
    summary = summarise(common, resamples=context.resamples, seed=context.seed)
    tables: list[Table] = []
    if context.released is not None:
        compared = (
            released_table(summary, split, kind=kind, released=context.released, oracles=context.oracles)
            for split, kind in context.kinds.items()
        )
        tables += [table for table in compared if table is not None]
    for split in context.kinds:
        here = summary[summary["split"] == split]
        views = here[~here["region"].isin(["mask", RELEASE_REGION])]
        about = [m for m in manifests if m.get("split") == split and "@" not in m["method"]]
        heads = {
            kind: table_head("paper", split, [m for m in about if m["kind"] == kind], context.published.get(split))
            for kind in ("views", "masks")
        }
        if len(views):
            forced = {(m["method"], m["inputs"]) for m in manifests if m.get("split") == split and m.get("forced")}
            paper_rows = paper_table(
                split,
                views,
                kind=context.kinds[split],
                published=split in context.outside,
                forced=forced,
                dropped=[
                    *(text for (where, _, kind), text in dropped.items() if (where, kind) == (split, "views")),
                    *context.left_out.get(split, ()),
                ],
                head=heads["views"],
            )
            tables += [] if paper_rows is None else [paper_rows]
        both = protocol_table(
            split,
            here[here["region"] != "mask"],
            about,
            kind=context.kinds[split],
            head=heads["views"].replace("Protocol: paper", "Protocol: by row", 1),
        )
        tables += [] if both is None else [both]
        for masks in (False, True):
            rows = here[here["region"] == "mask"] if masks else views
            rows = rows[~rows["metric"].isin(DAVIS_METRICS)]
            if len(rows):
                tables.append(
                    split_table(
                        split,
                        rows,
                        manifests,
                        dropped,
                        masks=masks,
                        kind=context.kinds[split],
                        published=split in context.outside,
                        head=heads["masks" if masks else "views"],
                    )
                )
        boundaries = davis_table(split, here[here["region"] == "mask"], manifests)
        tables += [] if boundaries is None else [replace(boundaries, head=heads["masks"])]
    ablations = ablation_table(scores, context.ablations, resamples=context.resamples, seed=context.seed)
    tables += [] if ablations is None else [ablations]
    tables += health_tables(healths, head=" ".join(table_head("camera health", one["split"], [one]) for one in healths))
    findings = check_claims(scores, context.kinds, healths, resamples=context.resamples, seed=context.seed)
    if findings:
        tables.append(claims_table(findings))
    return Tables(context, tuple(tables), summary, tuple(findings))


def family(method: str) -> str:
    """Rows that are compared frame by frame: renderings, masks of cached residuals, masks of input views."""
    kind = method.partition("@")[0].partition(":")[0]
    return (
        "head" if kind in ("head", "coseg", "file", "leave_one_out") else "cache" if kind in MASK_METHODS else "views"
    )


def intersect(scores: pd.DataFrame) -> tuple[pd.DataFrame, dict[tuple[str, int, str], str]]:
    """Scores of the frames that every method of a split, number of inputs and family has.

    Returns:
        The scores, and for each (split, inputs, family) that lost some a sentence that says which.

    Raises:
        ValueError: methods that have no frame in common.
    """
    groups = scores.assign(family=scores["method"].map(family))
    kept, dropped = [], {}
    for (split, inputs, kind), group in groups.groupby(["split", "inputs", "family"], sort=True):
        frames = {
            str(method): set(zip(rows["scene"], rows["frame"], strict=True)) for method, rows in group.groupby("method")
        }
        shared, everything = set.intersection(*frames.values()), set.union(*frames.values())
        if not shared:
            counts = ", ".join(f"{method} {len({scene for scene, _ in own})} scenes" for method, own in frames.items())
            raise ValueError(
                f"{split}, {inputs} inputs: no frame was scored with every method ({counts}); score them on the same "
                "scenes, or leave a row out"
            )
        inside = pd.Series(list(zip(group["scene"], group["frame"], strict=True)), index=group.index).isin(shared)
        kept.append(group[inside])
        if shared != everything:
            lacking = {str(m): len({s for s, _ in everything} - {s for s, _ in own}) for m, own in frames.items()}
            named = ", ".join(f"{method} lacks {count}" for method, count in lacking.items() if count)
            scenes = f" ({named} scenes)" if named else ""
            dropped[(str(split), int(str(inputs)), str(kind))] = (
                f"Methods were scored on different frames{scenes}: compared on the {len(shared)} of {len(everything)} "
                "frames that all have."
            )
    return pd.concat(kept).drop(columns="family"), dropped


def summarise(scores: pd.DataFrame, *, resamples: int, seed: int) -> pd.DataFrame:
    """Mean, 95% interval over scenes and counts of each split, inputs, method, region and metric."""
    rows = []
    for key, group in scores.groupby(["split", "inputs", "method", "region", "metric"], sort=True):
        interval = bootstrap_mean(group["value"], group["scene"], resamples=resamples, seed=seed)
        rows.append((*key, *vars(interval).values()))
    names = ["split", "inputs", "method", "region", "metric", *FIELDS]
    return pd.DataFrame(rows, columns=names)
