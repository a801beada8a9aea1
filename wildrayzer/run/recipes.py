"""What each row of the view-synthesis tables renders from. Needs no torch: the workflow plans with it."""

from dataclasses import dataclass
from typing import Literal

from wildrayzer.config.sections.benchmark import BenchmarkConfig

Stage = Literal["pretrain", "distill", "joint", "unmasked", "external"]
Gate = Literal["none", "own", "true", "coseg", "file"]


@dataclass(frozen=True)
class Recipe:
    """How a row renders."""

    stage: Stage | None
    """Stage whose checkpoint it loads; `external`: one that the configuration names; None needs no network."""
    gate: Gate = "none"
    """Input tokens replaced by the noise token: none, by the checkpoint's own motion head, by true masks, by
    co-segmentation of features, or by masks from files."""
    clean: bool = False
    """Input views are the clean twins; target views, used for their poses alone, stay as they are."""
    source: str | None = None
    """Name in `benchmark.masks`, `benchmark.renderings` or `benchmark.checkpoints`; None for a built-in row."""
    finished: bool = False
    """The renderings are files; nothing is rendered."""


RECIPES: dict[str, Recipe] = {
    "nearest": Recipe(None),
    "blend": Recipe(None),
    "static": Recipe("pretrain"),
    "static_coseg": Recipe("pretrain", gate="coseg"),
    "static_true_masks": Recipe("pretrain", gate="true"),
    "static_clean": Recipe("pretrain", clean=True),
    "distilled": Recipe("distill", gate="own"),
    "joint": Recipe("joint", gate="own"),
    "joint_true_masks": Recipe("joint", gate="true"),
    "joint_clean": Recipe("joint", gate="own", clean=True),
    "unmasked": Recipe("unmasked"),
}


def recipe_of(row: str, config: BenchmarkConfig) -> Recipe:
    """The recipe of a built-in or external row.

    Raises:
        ValueError: no such row.
    """
    if row in RECIPES:
        return RECIPES[row]
    name = row.removeprefix("static_")
    if row.startswith("static_") and name in config.masks:
        return Recipe("pretrain", gate="file", source=name)
    if row in config.renderings:
        return Recipe(None, source=row, finished=True)
    if row in config.checkpoints:
        return Recipe("external", gate=config.checkpoints[row].gate, source=row)
    known = [*RECIPES, *config.external_rows]
    raise ValueError(f"benchmark.methods: {row!r} is unknown; known: {', '.join(known)}")


def folder_of(row: str, config: BenchmarkConfig, name: str, inputs: int) -> str | None:
    """Folder or checkpoint outside the run that a row reads for the set `name`; None where it reads none.

    Raises:
        ValueError: the row has no folder for this set.
    """
    recipe = recipe_of(row, config)
    if recipe.source is None:
        return None
    if recipe.stage == "external":
        return config.checkpoints[recipe.source].path
    option = "renderings" if recipe.finished else "masks"
    place = name if recipe.finished else config.set_of(name).split
    folders = getattr(config, option)[recipe.source].folders
    if place not in folders:
        raise ValueError(
            f"benchmark.{option}.{recipe.source}.folders has no {place!r} (it has {sorted(folders)}); add its folder, "
            "or leave the row out for it"
        )
    return str(folders[place]).replace("{inputs}", str(inputs))


def rows_of_set(config: BenchmarkConfig, name: str, *, role: str) -> list[str]:
    """Rows that a set can have: those whose truth a split of this role has, and whose files are named for it.

    Args:
        config: the `benchmark` section.
        name: of the set.
        role: of its split.
    """
    lacking = {"static": ("true_masks", "clean", "distilled", "coseg"), "dynamic": ("clean",), "pairs": ()}[role]
    if name in config.pictures:
        lacking = ("true_masks", "clean")
    rows: list[str] = [row for row in config.methods if not row.endswith(lacking)]
    split = config.set_of(name).split
    for source, masks in config.masks.items():
        rows += [f"static_{source}"] * (split in masks.folders)
    rows += [source for source, files in config.renderings.items() if name in files.folders]
    return [*rows, *config.checkpoints]
