"""Under which protocol a figure was measured: the head of every table, and the protocols side by side. Needs no torch.

`paper`: the paper's region, by the set's masks or clean frames. `release`: the whole frame against the recorded one, as
the public release computes by default (docs/why-your-number-differs.md). Both measure the same renderings.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from wildrayzer.evaluation.tables.rows import (
    FIELDS,
    HEADINGS,
    VIEW_METRICS,
    Table,
    cell,
    interval_of,
    order_of,
)

HEADLINE_REGION = {"moving": "static", "same_family": "static", "frozen": "static", "pairs": "full", "static": "full"}
"""Region that the paper reports on a set of each kind: the static one (its ˢ) where no clean frame is known."""
RELEASE_REGION = "release"
_GATES = {
    "own": "motion head",
    "true": "true masks (oracle)",
    "coseg": "co-segmentation",
    "file": "masks from files",
    "none": "none",
}
_UNKNOWN = "not recorded by an earlier version"


def table_head(
    protocol: str, split: str, manifests: Sequence[Mapping[str, Any]], published: Mapping[int, str] | None = None
) -> str:
    """What stands over a table of one set: protocol, windows, scenes, precision and definition of LPIPS.

    Args:
        protocol: its name.
        split: the set.
        manifests: of the scores in the table.
        published: published index of the set for each number of input views that has one.
    """
    parts = [f"Protocol: {protocol}"]
    counts = sorted({int(m["inputs"]) for m in manifests})
    parts += [f"{count} inputs: {_windows(split, count, manifests, (published or {}).get(count))}" for count in counts]
    precisions = sorted({str(m["precision"]) for m in manifests if m.get("precision") not in (None, "none")})
    views = [m for m in manifests if m.get("kind") == "views"]
    unknown = any(m.get("precision") is None for m in views)
    default = _UNKNOWN if unknown else "float32" if not views else "no network"
    parts.append(f"Precision: {'; '.join(precisions) or default}")
    if views:
        scored = any(m.get("lpips", "scored") == "scored" for m in views)
        parts.append(f"LPIPS: {'VGG-16, as Eq. 7 and as the release, by column' if scored else 'not scored'}")
    return ". ".join(parts) + "."


def _windows(split: str, inputs: int, manifests: Sequence[Mapping[str, Any]], published: str | None) -> str:
    """Windows and scenes of one number of input views."""
    here = [m for m in manifests if m["inputs"] == inputs]
    scenes = _counts([_scored(m) for m in here])
    known = {m["evaluation_windows"]["digest"]: m["evaluation_windows"] for m in here if m.get("evaluation_windows")}
    cached = [str(m.get("method")).startswith("masks:") for m in here]
    if not known:
        return f"{'every frame of the residual windows' if all(cached) else f'windows {_UNKNOWN}'}, {scenes}"
    names = ["of cached masks, every frame"] if any(cached) else []
    for digest, windows in known.items():
        file = f"windows/ours/{split}-{inputs}.json"
        name = PurePosixPath(windows["index"]).name if windows["index"] else f"drawn by this run ({file})"
        if published and not windows["index"]:
            name += f", although {published} is published"
        lost = f", of which {windows['unused']} entries are left out" if windows["unused"] else ""
        names.append(f"{name}, digest {digest[:8]}{lost}")
    return f"windows {'; '.join(names)}, {scenes}"


def _scored(manifest: Mapping[str, Any]) -> tuple[int, int]:
    """Scenes that were scored, and scenes of the split; the renderer's health counts one window per scene."""
    scored = manifest["counts"]["scenes"] if "counts" in manifest else manifest["windows"]
    return scored, manifest.get("scenes_of_split", scored)


def _counts(pairs: Sequence[tuple[int, int]]) -> str:
    """Scenes that were scored of those of the split; the range where rows differ."""
    scored, total = sorted({one for one, _ in pairs}), sorted({every for _, every in pairs})
    low, high = scored[0], scored[-1]
    return f"{low if low == high else f'{low} to {high}'} of {total[-1]} scenes"


def protocol_table(
    split: str, rows: pd.DataFrame, manifests: Sequence[Mapping[str, Any]], *, kind: str, head: str
) -> Table | None:
    """The protocols `paper` and `release` of one set as rows side by side.

    Args:
        split: name of the set.
        rows: its part of the summary; ablations are left out.
        manifests: of its score files.
        kind: of its split.
        head: of the table.

    Returns:
        None where the two are the same: on sets in which nothing moves.
    """
    own = rows[~rows["method"].str.contains("@")]
    if not (own["region"] == RELEASE_REGION).any():
        return None
    paper = HEADLINE_REGION[kind]
    metrics = [metric for metric in VIEW_METRICS if (own["metric"] == metric).any()]
    gates = {(m["method"], m["inputs"]): str(m.get("gate")) for m in manifests}
    lines = []
    for inputs in sorted(own["inputs"].unique().tolist()):
        group = own[own["inputs"] == inputs]
        for method in sorted(group["method"].unique(), key=order_of):
            gate = gates.get((method, inputs), "None")
            for protocol, region in (("paper", paper), ("release", RELEASE_REGION)):
                means = group[(group["method"] == method) & (group["region"] == region)].set_index("metric")[FIELDS]
                if means.empty:
                    continue
                cells = [cell(interval_of(means.loc[m].tolist()), m) if m in means.index else "–" for m in metrics]
                name = f"{protocol}, oracle gate" if gate == "true" else protocol
                shown = "full (release)" if region == RELEASE_REGION else region
                lines.append((
                    str(inputs), method, name, _GATES.get(gate, "–"), shown, *cells, str(int(means["scenes"].max())),
                ))  # fmt: skip
    truth = "the clean frame" if kind == "pairs" else "the recorded frame, outside transients"
    return Table(
        name=f"protocols_{split}",
        title=f"Protocols on {split}: the same renderings, measured twice. Mean ± standard error over scenes.",
        columns=("inputs", "method", "protocol", "gate", "region", *(HEADINGS[m] for m in metrics), "scenes"),
        rows=tuple(lines),
        notes=(
            f"Protocol paper: region {paper}, against {truth}. Protocol release: the whole frame against the recorded "
            "frame, transients included, as the public release computes by default.",
            "Oracle gate: the true masks of the inputs replace those of the motion head. The release does so wherever "
            "it scores regions; no method has them.",
        ),
        head=head,
    )
