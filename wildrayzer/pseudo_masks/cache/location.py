"""Location of a pseudo-mask cache: its folder and, if that is in a run's folder, the run, round and split."""

from dataclasses import dataclass
from pathlib import Path

from wildrayzer.pseudo_masks.cache.manifest import find_group, is_begun
from wildrayzer.run.layout import RunLayout

GROUPS = ("residuals", "patch_masks", "pixel_masks")


@dataclass(frozen=True)
class CacheLocation:
    """Location of a cache: its folder and, if that is in a run's folder, the run, round and split."""

    path: Path
    """Folder of the manifests."""
    layout: RunLayout | None
    """Paths of the run; None outside of a run's folder."""
    split: str
    predictor: str
    """Name of the predictor (see `wildrayzer.pseudo_masks.predictors`), from the folder's name."""
    number: str = ""
    """Number of the round."""
    ablation: str = ""
    """Ablation that the folder belongs to; what the ablation does not make itself lies in the run's folder."""

    @classmethod
    def of(cls, cache: str | Path) -> "CacheLocation":
        """The location of a cache, given its folder, or a manifest, group or part in it."""
        path = Path(cache)
        # Links are resolved only for `..`: a link may lead into another run's folder.
        path = path.resolve() if ".." in path.parts else path.absolute()
        if path.suffix == ".zarr" and path.parent.name in GROUPS:
            path = path.parent
        if path.name in GROUPS or (path.suffix in (".json", ".zarr") and path.stem in GROUPS):
            path = path.parent
        split, masks, round_, run = path.parents[:4] if len(path.parents) > 4 else [path] * 4
        if masks.name != "masks" or not round_.name.startswith("round"):
            return cls(path, None, path.name, "")
        ablation = run.name if run.parent.name == "ablations" else ""
        run = run.parents[1] if ablation else run
        number = round_.name.removeprefix("round")
        return cls(path, RunLayout(run.name, str(run.parent)), split.name, path.name, number, ablation)

    def group(self, name: str) -> Path:
        """Manifest of a group, or the group of an earlier version: in the cache's folder, or in the run's if an
        ablation shares it."""
        own = self.path / f"{name}.json"
        if self.ablation and self.layout and not is_begun(own):
            return find_group(Path(self.layout.masks(self.number, self.split, self.predictor)) / own.name)
        return find_group(own)

    @property
    def run(self) -> Path | None:
        """Folder of the run."""
        return Path(self.layout.base) if self.layout else None

    @property
    def title(self) -> str:
        """Name for headings."""
        if self.layout is None:
            return self.path.name
        return ", ".join(part for part in (self.ablation, self.split, f"round {self.number}", self.predictor) if part)

    def show(self, path: str | Path) -> str:
        """A path for messages: relative to the run's folder if it lies there."""
        path = Path(path)
        return str(path.relative_to(self.run)) if self.run and path.is_relative_to(self.run) else str(path)
