"""What each row of the view-synthesis tables renders with. Imports no torch, since the workflow uses it."""

from dataclasses import dataclass
from typing import Literal

from wildrayzer.config.sections.benchmark import GIVEN_ROWS, BenchmarkConfig

Stage = Literal["pretrain", "distill", "joint", "unmasked", "external"]
Gate = Literal["none", "own", "true", "coseg", "file"]


@dataclass(frozen=True)
class RowSpec:
    """How a row of the view-synthesis tables renders."""

    stage: Stage | None
    """Stage whose checkpoint it loads; `external`: one that the configuration names; None needs no network."""
    gate: Gate = "none"
    """Input tokens replaced by the noise token: none, by the checkpoint's own motion head, by true masks, by
    co-segmentation of features, or by masks from files."""
    clean: bool = False
    """Input views are the clean twins; target views, used only for their poses, stay as they are."""
    entry: str | None = None
    """Entry of `benchmark.masks`, `benchmark.renderings` or `benchmark.checkpoints`; None for a built-in row."""
    finished: bool = False
    """The renderings are files; nothing is rendered."""


ROW_SPECS: dict[str, RowSpec] = {
    "nearest": RowSpec(None),
    "blend": RowSpec(None),
    "static": RowSpec("pretrain"),
    "given_cameras": RowSpec("pretrain"),
    "lvsm": RowSpec("pretrain"),
    "static_coseg": RowSpec("pretrain", gate="coseg"),
    "static_true_masks": RowSpec("pretrain", gate="true"),
    "static_clean": RowSpec("pretrain", clean=True),
    "distilled": RowSpec("distill", gate="own"),
    "joint": RowSpec("joint", gate="own"),
    "joint_true_masks": RowSpec("joint", gate="true"),
    "joint_clean": RowSpec("joint", gate="own", clean=True),
    "unmasked": RowSpec("unmasked"),
}


def row_spec(row: str, config: BenchmarkConfig) -> RowSpec:
    """How a built-in or external row renders.

    Raises:
        ValueError: no such row.
    """
    if row in ROW_SPECS and row not in config.checkpoints:
        return ROW_SPECS[row]
    name = row.removeprefix("static_")
    if row.startswith("static_") and name in config.masks:
        return RowSpec("pretrain", gate="file", entry=name)
    if row in config.renderings:
        return RowSpec(None, entry=row, finished=True)
    if row in config.checkpoints:
        return RowSpec("external", gate=config.checkpoints[row].gate, entry=row)
    known = [*ROW_SPECS, *config.external_rows]
    raise ValueError(f"benchmark.methods: {row!r} is unknown; known: {', '.join(known)}")


def takes_cameras(row: str, config: BenchmarkConfig) -> bool:
    """Whether a row renders with the true cameras, so that it needs a set that has them."""
    return config.checkpoints[row].cameras == "given" if row in config.checkpoints else row in GIVEN_ROWS


def folder_of(row: str, config: BenchmarkConfig, name: str, inputs: int) -> str | None:
    """Folder or checkpoint outside the run that a row reads for the set `name`; None where it reads none.

    Raises:
        ValueError: the row has no folder for this set.
    """
    spec = row_spec(row, config)
    if spec.entry is None:
        return None
    if spec.stage == "external":
        return config.checkpoints[spec.entry].path
    option = "renderings" if spec.finished else "masks"
    place = name if spec.finished else config.set_of(name).split
    folders = getattr(config, option)[spec.entry].folders
    if place not in folders:
        raise ValueError(
            f"benchmark.{option}.{spec.entry}.folders has no {place!r} (it has {sorted(folders)}); add its folder, "
            "or leave the row out for it"
        )
    return str(folders[place]).replace("{inputs}", str(inputs))


def rows_of_set(config: BenchmarkConfig, name: str, *, role: str, cameras: bool = True) -> list[str]:
    """Rows that a set can have: those whose truth and cameras its split has, and whose files are named for it.

    Args:
        config: the `benchmark` section.
        name: of the set.
        role: of its split.
        cameras: whether its split has true cameras.
    """
    lacking = {"static": ("true_masks", "clean", "distilled", "coseg"), "dynamic": ("clean",), "pairs": ()}[role]
    if name in config.pictures:
        lacking = ("true_masks", "clean")
    rows: list[str] = [row for row in config.methods if not row.endswith(lacking)]
    split = config.set_of(name).split
    rows += [f"static_{entry}" for entry, masks in config.masks.items() if split in masks.folders]
    rows += [entry for entry, files in config.renderings.items() if name in files.folders]
    rows += [row for row, one in config.checkpoints.items() if one.gate != "true" or "true_masks" not in lacking]
    return [row for row in rows if cameras or not takes_cameras(row, config)]
