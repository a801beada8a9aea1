"""Splits whose data are gone, but whose frames are prepared: Snakemake takes these as they are and says nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wildrayzer.config import RunConfig
from wildrayzer.run.layout import RunLayout
from wildrayzer.run.redo import changed_options, recorded_at


def splits_without_data(
    config: RunConfig, layout: RunLayout, options: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], list[str]]:
    """Splits whose `path` does not exist although their frames do.

    Args:
        config: of the run.
        layout: of the run.
        options: params that the preparation of a split would have, by its name; the splits to look at.

    Returns:
        Warnings, for frames that are used as they are; and faults, for frames that would have to be prepared again.
    """
    warnings, faults = [], []
    for name, params in options.items():
        path, store = config.data.splits[name].path, layout.store(name)
        if path is None or Path(path).exists() or not Path(store).exists():
            continue
        lost = f"data.splits.{name}.path = {path!r} does not exist"
        before = recorded_at(layout.log("prepare_split", name))
        changes = changed_options(before, params, "prepare_split", {"split": name})
        if changes:
            faults.append(
                f"{lost}, but the frames of {name} would have to be prepared again ({'; '.join(changes)}); put the "
                "data back, or take the change back"
            )
        else:
            warnings.append(f"{lost}: the prepared frames of {name} ({store}) are used as they are")
    return warnings, faults
