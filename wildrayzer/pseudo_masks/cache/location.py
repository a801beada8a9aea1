"""Where a pseudo-mask cache lies: its folder and, where that is in the folder of a run, the run and the split."""

from dataclasses import dataclass
from pathlib import Path

from wildrayzer.pseudo_masks.cache.writer import unfinished
from wildrayzer.run.layout import RunLayout

GROUPS = ("residuals", "patch_masks", "pixel_masks")


@dataclass(frozen=True)
class CacheLocation:
    """Where a cache lies: its folder and, where that is within a run's folder, the run and the split."""

    path: Path
    """Folder of the groups."""
    layout: RunLayout | None
    split: str
    source: str
    """What stands for the rendering, after the folder."""
    number: str = ""
    """Of the round."""
    ablation: str = ""
    """Ablation that the folder belongs to; it shares with the run what it does not make itself."""

    @classmethod
    def of(cls, cache: str | Path) -> "CacheLocation":
        """The place of a cache, given its folder or one of the groups in it."""
        path = Path(cache)
        # The names as given where there is no `..`: a link may lead to another run.
        path = path.resolve() if ".." in path.parts else path.absolute()
        if path.suffix == ".zarr" and path.stem in GROUPS:
            path = path.parent
        split, masks, round_, run = path.parents[:4] if len(path.parents) > 4 else [path] * 4
        if masks.name != "masks" or not round_.name.startswith("round"):
            return cls(path, None, path.name, "")
        ablation = run.name if run.parent.name == "ablations" else ""
        run = run.parents[1] if ablation else run
        number = round_.name.removeprefix("round")
        return cls(path, RunLayout(run.name, str(run.parent)), split.name, path.name, number, ablation)

    def group(self, name: str) -> Path:
        """Where a group lies: in the folder, or in the run's where an ablation shares it."""
        own = self.path / f"{name}.zarr"
        if self.ablation and self.layout and not own.exists() and not unfinished(own).exists():
            return Path(self.layout.masks(self.number, self.split, self.source)) / own.name
        return own

    @property
    def run(self) -> Path | None:
        """Folder of the run."""
        return Path(self.layout.base) if self.layout else None

    @property
    def title(self) -> str:
        """Name for headings."""
        if self.layout is None:
            return self.path.name
        return ", ".join(part for part in (self.ablation, self.split, f"round {self.number}", self.source) if part)

    def show(self, path: str | Path) -> str:
        """A path as people read it: from the run's folder on."""
        path = Path(path)
        return str(path.relative_to(self.run)) if self.run and path.is_relative_to(self.run) else str(path)
