"""Paths of a run's files, for the workflow, the command line and the report."""

from pathlib import PurePosixPath


class RunLayout:
    """Paths of a run, relative to the working directory.

    Args:
        name: name of the run.
        root: folder of all runs.
    """

    def __init__(self, name: str, root: str = "results") -> None:
        self.base = PurePosixPath(root) / name

    def _path(self, *parts: str | int) -> str:
        return str(self.base.joinpath(*map(str, parts)))

    def source(self, name: str, part: str) -> str:
        """Link to a part of an outside data set, whose files are below resources/."""
        return self._path("sources", name, part)

    def raw(self, split: str) -> str:
        """Embedded split in its outside layout."""
        return self._path("raw", split)

    @property
    def cutouts(self) -> str:
        """Embedded COCO stand-in, laid out as COCO 2014."""
        return self._path("raw", "cutouts")

    def store(self, split: str) -> str:
        """Manifest of a split's frame store; its parts lie in the folder of the same name."""
        return self._path("frames", f"{split}.json")

    def data_report(self, split: str) -> str:
        """What the preparation of a split found, used and skipped."""
        return self._path("frames", f"{split}.report.json")

    def data_sheet(self, split: str) -> str:
        """Contact sheet of a split."""
        return self._path("frames", f"{split}.sheet.png")

    def windows(self, split: str) -> str:
        """Residual windows of a split."""
        return self._path("windows", f"{split}.json")

    def makes(self, stage: str) -> bool:
        """Whether this run makes the artefacts of a stage itself; an ablation shares the earlier ones."""
        return True

    def _home(self, stage: str, number: int | str | None) -> PurePosixPath:
        """Folder that a stage's artefacts of a round lie below."""
        return self.base

    def _stage(self, stage: str, number: int | str | None, part: str | None = None) -> PurePosixPath:
        home = self._home(part or stage, number)
        return home / stage if number is None else home / f"round{number}" / stage

    def checkpoint(self, stage: str, number: int | str | None = None) -> str:
        """Weights and manifest of a training stage; `number` is the round, None for pretraining."""
        return str(self._stage(stage, number) / "checkpoint")

    def metrics(self, stage: str, number: int | str | None = None) -> str:
        """Training metrics of a stage as JSON lines."""
        return str(self._stage(stage, number) / "metrics.jsonl")

    def state(self, stage: str, number: int | str | None = None) -> str:
        """Resume states of a stage; never a declared output."""
        name = stage if number is None else f"round{number}-{stage}"
        return str(self._home(stage, number) / "state" / name)

    def masks(self, number: int | str, split: str, predictor: str = "renderer", *, part: str = "residuals") -> str:
        """Pseudo-mask cache of a split: residuals.json, patch_masks.json, pixel_masks.json, each with the folder of its
        parts beside it; `part` is the stage that makes the group in question."""
        return str(self._stage("masks", number, part) / split / predictor)

    def residuals(self, number: int | str, split: str, predictor: str = "renderer") -> str:
        """Manifest of the residual maps of a split."""
        return f"{self.masks(number, split, predictor)}/residuals.json"

    def residual_receipt(self, number: int | str, split: str, predictor: str, job: str, jobs: int | str) -> str:
        """Receipt of one residual job: the parts that it made."""
        return f"{self.masks(number, split, predictor)}/residuals.job-{job}-of-{jobs}.json"

    def patch_masks(self, number: int | str, split: str, predictor: str = "renderer") -> str:
        """Manifest of the patch masks of a split."""
        return f"{self.masks(number, split, predictor, part='pseudo_masks')}/patch_masks.json"

    def pixel_masks(self, number: int | str, split: str, predictor: str = "renderer") -> str:
        """Manifest of the refined pixel masks of a split."""
        return f"{self.masks(number, split, predictor, part='refine')}/pixel_masks.json"

    def mask_receipt(self, number: int | str, split: str, predictor: str, job: str, jobs: int | str) -> str:
        """Receipt of one refinement job: the parts that it made."""
        return f"{self.masks(number, split, predictor, part='refine')}/pixel_masks.job-{job}-of-{jobs}.json"

    def thresholds(self, number: int | str, predictor: str = "renderer") -> str:
        """Thresholds of the absolute test."""
        return str(self._stage("masks", number, "pseudo_masks") / f"thresholds-{predictor}.json")

    def view_scores(self, method: str, split: str, inputs: int | str) -> str:
        """Scores of a method's renderings."""
        return self._path("scores", "views", f"{method}-{split}-{inputs}.csv")

    def mask_scores(self, predictor: str, split: str) -> str:
        """Scores of the pseudo-masks of a split."""
        return self._path("scores", "masks", f"{predictor}-{split}.csv")

    def head_scores(self, stage: str, split: str) -> str:
        """Scores of a motion head, or of other masks of the input views, on a split."""
        return self._path("scores", "heads", f"{stage}-{split}.csv")

    def index(self, split: str, inputs: int | str, origin: str) -> str:
        """Evaluation windows of a set as an index file beside the tables, for those who render elsewhere; `origin` is
        `ours` for windows that the run has drawn and `given` for those of an index file."""
        return self._path("tables", "windows", origin, f"{split}-{inputs}.json")

    @property
    def renderer_scores(self) -> str:
        """Camera R², reordering and pose use of the static renderer."""
        return self._path("scores", "renderer.json")

    @property
    def tables(self) -> str:
        """Folder of the benchmark tables."""
        return self._path("tables")

    @property
    def report(self) -> str:
        """The HTML report."""
        return self._path("report", "index.html")

    def log(self, rule: str, *parts: str) -> str:
        """Log of a job."""
        return self._path("logs", rule, "-".join(parts) + ".log" if parts else "log.txt")

    def benchmark(self, rule: str, *parts: str) -> str:
        """Time and memory of a job, as Snakemake measures them."""
        return self._path("benchmarks", rule, "-".join(parts) + ".tsv" if parts else "job.tsv")


class AblationLayout(RunLayout):
    """Paths of an ablation: its own below results/NAME/ablations/ABLATION, those of shared stages the run's.

    Args:
        name: name of the run.
        ablation: name of the ablation.
        own: stages that it does not share.
        shared_rounds: rounds that it shares whatever the stage.
        root: folder of all runs.
    """

    def __init__(
        self, name: str, ablation: str, own: frozenset[str], *, shared_rounds: int = 0, root: str = "results"
    ) -> None:
        super().__init__(name, root)
        self.ablation, self.own, self.shared_rounds = ablation, own, shared_rounds
        self.own_base = self.base / "ablations" / ablation

    def makes(self, stage: str) -> bool:
        """Whether the ablation makes the artefacts of a stage itself."""
        return stage in self.own

    def _home(self, stage: str, number: int | str | None) -> PurePosixPath:
        shared = stage not in self.own or (str(number).isdigit() and int(str(number)) <= self.shared_rounds)
        return self.base if shared else self.own_base

    def _own(self, *parts: str) -> str:
        return str(self.own_base.joinpath(*parts))

    def view_scores(self, method: str, split: str, inputs: int | str) -> str:
        """Scores of the ablation's renderings."""
        return self._own("scores", "views", f"{method}-{split}-{inputs}.csv")

    def mask_scores(self, predictor: str, split: str) -> str:
        """Scores of the ablation's pseudo-masks."""
        return self._own("scores", "masks", f"{predictor}-{split}.csv")

    def head_scores(self, stage: str, split: str) -> str:
        """Scores of the ablation's motion heads."""
        return self._own("scores", "heads", f"{stage}-{split}.csv")

    @property
    def tables(self) -> str:
        """Folder of the tables that set the ablation beside the run."""
        return self._own("tables")

    def log(self, rule: str, *parts: str) -> str:
        """Log of a job."""
        return super().log(rule, *parts).replace(str(self.base), str(self.own_base), 1)

    def benchmark(self, rule: str, *parts: str) -> str:
        """Time and memory of a job, as Snakemake measures them."""
        return super().benchmark(rule, *parts).replace(str(self.base), str(self.own_base), 1)
