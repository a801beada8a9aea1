"""Outside paths that a run reads, and the sources of the table that provide them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wildrayzer.config import RunConfig
from wildrayzer.datasets.table import PartLayout, SourceTable


@dataclass(frozen=True)
class Need:
    """A path that a run reads."""

    option: str
    """Option that names it."""
    path: str
    """The path."""
    layout: PartLayout
    """Layout that it must have."""
    scenes: int | None = None
    """Number of scenes that the configuration expects."""
    split: str | None = None
    """The split it belongs to."""
    index: bool = False
    """Whether it is a frozen evaluation index."""
    scene_list: str | None = None
    """List of scenes that the split takes, see `SplitConfig`."""


def needs(config: RunConfig) -> Iterator[Need]:
    """Every path outside of the run's folder that a run reads, in the order of the configuration."""
    for name, split in config.data.splits.items():
        if split.layout != "embedded" and split.path is not None:
            layout: PartLayout = split.layout
            yield Need(
                f"data.splits.{name}.path",
                split.path,
                layout,
                scenes=split.expected_scenes,
                split=name,
                scene_list=split.scene_list,
            )
    coco = config.data.coco
    if coco.annotations is not None and coco.images is not None:
        yield Need("data.coco.annotations", coco.annotations, "file")
        yield Need("data.coco.images", coco.images, "folder")
    if (weights := config.features.path) is not None:
        yield Need("features.weights", weights, "file" if weights.endswith(".safetensors") else "huggingface")
    if config.trains and config.perceptual.kind == "vgg19" and config.perceptual.weights is not None:
        yield Need("perceptual.weights", config.perceptual.weights, "file")
    if config.benchmark.lpips_weights is not None:
        yield Need("benchmark.lpips_weights", config.benchmark.lpips_weights, "file")
    if config.pretrained is not None:
        yield Need("pretrained", config.pretrained, "folder")
    if config.released is not None:
        yield Need("released.file", config.released.file, "file")
    yield from _of_benchmark(config)


def _of_benchmark(config: RunConfig) -> Iterator[Need]:
    """Frozen indices, and results of other tools; `{inputs}` in a path is replaced by each number of input views."""
    section = config.benchmark
    for row, checkpoint in section.checkpoints.items():
        if checkpoint.path == config.imported:
            continue  # a job of the run makes it
        yield Need(f"benchmark.checkpoints.{row}.path", checkpoint.path, "folder")
    for name in dict.fromkeys([*section.index, *section.sets]):
        own = section.set_of(name)
        option = f"benchmark.sets.{name}.index" if name in section.sets else f"benchmark.index.{name}"
        for path in dict.fromkeys(own.index_file(count) for count in section.inputs_of(name)):
            if path is not None:
                yield Need(option, path, "file", split=own.split, index=True)
    for kind in ("masks", "renderings"):
        for row, made in getattr(section, kind).items():
            for name, folder in made.folders.items():
                for path in _with_inputs(folder, section.inputs_of(name)):
                    yield Need(f"benchmark.{kind}.{row}.folders.{name}", path, "folder")


def _with_inputs(path: str, inputs: tuple[int, ...]) -> list[str]:
    return list(dict.fromkeys(path.replace("{inputs}", str(count)) for count in inputs))


def parts_read(config: RunConfig, table: SourceTable) -> list[tuple[str, str]]:
    """Source and part of each outside path that lies at a place of the table, each once."""
    parts = (table.at(need.path) for need in needs(config))
    return list(dict.fromkeys(at for at in parts if at is not None))


def to_fetch(config: RunConfig, table: SourceTable, root: str | Path = ".") -> dict[str, list[str]]:
    """Parts that a run reads and that are not at their places, by source; existing parts are never fetched again."""
    missing: dict[str, list[str]] = {}
    for name, part in parts_read(config, table):
        if not (Path(root) / table.source(name).place(part)).exists():
            missing.setdefault(name, []).append(part)
    return missing


def check_sources(config: RunConfig, table: SourceTable) -> None:
    """Check that the table has the sources that splits name.

    Raises:
        ValueError: a split names an unknown source or part, or one in another layout.
    """
    for name, split in config.data.splits.items():
        if split.source is None:
            continue
        source, _, part = split.source.partition("/")
        option = f"data.splits.{name}.source = {split.source!r}"
        parts = table.sources[source].parts if source in table.sources else {}
        if part not in parts:
            close = [f"{other}/{key}" for other, entry in table.sources.items() for key in entry.parts]
            same = [known for known in close if known.startswith(f"{source}/")] or list(table.sources)
            raise ValueError(f"{option} is in no source of the table; known: {', '.join(same)}")
        if parts[part].layout != split.layout:
            raise ValueError(f"{option} has layout: {parts[part].layout}, but the split says layout: {split.layout}")
