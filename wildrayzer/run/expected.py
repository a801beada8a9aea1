"""What a run, or an ablation of it, is expected to make: trained stages and scores.

Imports no torch, since the workflow uses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wildrayzer.config import RunConfig
from wildrayzer.config.variants import ablation_of, own_stages, variant_of
from wildrayzer.run.layout import AblationLayout, RunLayout
from wildrayzer.run.row_specs import row_spec, rows_of_set

MASK_STAGES = ("residuals", "pseudo_masks", "refine")
"""Stages that change pseudo-masks."""


def training_runs(config: RunConfig) -> list[tuple[str, int | None]]:
    """(stage, round) of every training stage of a run, in order; pretraining has no round."""
    if not config.learns_motion:
        return [("pretrain", None)] if config.trains else []
    stages = ["distill", *(["masked"] if config.masked else []), "joint"]
    last = [("unmasked", config.rounds)] if "unmasked" in config.benchmark.methods else []
    return [("pretrain", None), *((s, n) for n in range(1, config.rounds + 1) for s in stages), *last]


def stage_name(stage: str, number: int | None) -> str:
    """Name of a training run for people."""
    return stage if number is None else f"{stage}, round {number}"


@dataclass(frozen=True)
class ExpectedScores:
    """The scores that a run, or an ablation of it, makes, and their files."""

    config: RunConfig
    """Configuration; an ablation's has its changes."""
    layout: RunLayout
    """Where files lie."""
    only: tuple[str, ...] = field(default=())
    """Splits that an ablation is scored on; empty for all."""

    @property
    def ablation(self) -> str | None:
        """Name of the ablation; None for the run itself."""
        return self.layout.ablation if isinstance(self.layout, AblationLayout) else None

    def _wanted(self, split: str) -> bool:
        return not self.only or split in self.only

    def makes_rows_of(self, row: str) -> bool:
        """Whether the row renders with a checkpoint of its own, so that an ablation has to score it."""
        if self.ablation is None:
            return True
        stage = row_spec(row, self.config.benchmark).stage
        return row in ("distilled", "joint") and stage is not None and self.layout.makes(stage)

    def sets(self) -> list[str]:
        """Sets of the view-synthesis tables: test splits, then the sets that the configuration names."""
        return [*self.config.data.of(purpose="test"), *self.config.benchmark.sets]

    def rows(self, name: str) -> list[str]:
        """Rows that a set's table can have."""
        split = self.config.data.splits[self.config.benchmark.set_of(name).split]
        return rows_of_set(self.config.benchmark, name, role=split.role, cameras=split.has_cameras)

    def view_jobs(self, *, pictures: bool = False) -> list[tuple[str, str, int]]:
        """(row, set, number of inputs) of what is rendered and scored; `pictures`: of what is only rendered."""
        benchmark = self.config.benchmark
        return [
            (row, name, inputs)
            for name in self.sets()
            if (name in benchmark.pictures) == pictures and self._wanted(benchmark.set_of(name).split)
            for row in self.rows(name)
            if self.makes_rows_of(row)
            for inputs in benchmark.inputs_of(name, row)
        ]

    def evaluation_windows(self) -> list[tuple[str, int]]:
        """(set, number of inputs) of the windows that renderings and masks of input views are scored on."""
        benchmark = self.config.benchmark
        masks = {(split, benchmark.inputs_of(split, name)[0]) for name, split in self.input_mask_jobs()}
        return sorted({(name, inputs) for _, name, inputs in self.view_jobs()} | masks)

    def drawn_windows(self) -> list[tuple[str, int]]:
        """Those of them that the run draws itself; an ablation has the run's."""
        if self.ablation is not None:
            return []
        index = self.config.benchmark.set_of
        return [(name, inputs) for name, inputs in self.evaluation_windows() if index(name).index_file(inputs) is None]

    def mask_splits(self) -> list[str]:
        """Splits of the mask tables."""
        return [
            name
            for name, split in self.config.data.splits.items()
            if split.purpose in ("test", "control") and self.config.benchmark.has_masks(name) and self._wanted(name)
        ]

    def predictors_of(self, split: str) -> list[str]:
        """Predictors whose residuals give masks in a split's mask table; the controls need something that moves."""
        wanted = self.config.benchmark.mask_sources
        if self.config.data.splits[split].role == "dynamic" and self.ablation is None:
            return list(wanted)
        return [predictor for predictor in wanted if predictor == "renderer"]

    def mask_jobs(self) -> list[tuple[str, str]]:
        """(predictor, split) of pseudo-masks that are scored."""
        if not self.config.learns_motion or not any(map(self.layout.makes, MASK_STAGES)):
            return []
        return [(predictor, split) for split in self.mask_splits() for predictor in self.predictors_of(split)]

    def cached_masks(self) -> list[tuple[str, str]]:
        """(split, predictor) of the pseudo-masks that a run makes: for training, and those that are scored."""
        if self.config.data.dynamic_train is None:
            return []
        return [
            (self.config.data.dynamic_train, "renderer"),
            *((split, predictor) for predictor, split in self.mask_jobs()),
        ]

    def input_mask_jobs(self) -> list[tuple[str, str]]:
        """(name, split) of masks of input views: motion heads, co-segmentation, masks from files."""
        if self.config.trains and not self.config.learns_motion:
            return []
        benchmark = self.config.benchmark
        heads = [stage for stage in ("distill", "joint") if self.config.trains and self.layout.makes(stage)]
        if self.ablation is None:
            heads += [name for name, one in benchmark.checkpoints.items() if one.gate == "own"]
            heads += ["coseg"] * ("static_coseg" in benchmark.methods) + ["leave_one_out"] * benchmark.leave_one_out
        jobs = [(name, split) for split in self.mask_splits() for name in heads if benchmark.inputs_of(split, name)]
        if self.ablation is None:
            jobs += [
                (name, split)
                for name, files in benchmark.masks.items()
                for split in self.mask_splits()
                if split in files.folders
            ]
        return jobs

    def view_scores(self) -> list[str]:
        """Score files of all renderings."""
        return [self.layout.view_scores(*job) for job in self.view_jobs()]

    def pictures(self) -> list[str]:
        """Files of what is rendered without truth."""
        return [self.layout.view_scores(*job) for job in self.view_jobs(pictures=True)]

    def mask_scores(self) -> list[str]:
        """Score files of all masks."""
        return [
            *(self.layout.mask_scores(*job) for job in self.mask_jobs()),
            *(self.layout.head_scores(*job) for job in self.input_mask_jobs()),
        ]

    def health_scores(self) -> list[str]:
        """Scores of the static renderer's cameras, if the run has one."""
        return [self.layout.renderer_scores] if self.config.trains else []

    def files(self) -> list[str]:
        """All score files that go into tables."""
        return [*self.view_scores(), *self.mask_scores()]


def ablation_scores(config: RunConfig, name: str, *, root: str = "results") -> ExpectedScores:
    """The scores of one ablation of a run.

    Raises:
        ConfigError: no such ablation, or one that cannot be.
    """
    ablation = ablation_of(config, name)
    variant = variant_of(config, name, ablation)
    rounds = (config.rounds, variant.rounds)
    layout = AblationLayout(
        config.name,
        name,
        own_stages(config, name, ablation, variant),
        shared_rounds=0 if rounds[0] == rounds[1] else min(rounds),
        root=root,
    )
    return ExpectedScores(variant, layout, ablation.splits)


def compared_files(run: ExpectedScores, ablation: ExpectedScores) -> list[str]:
    """Score files of the run that those of an ablation are compared with: the same rows on the same splits."""
    beside = [run.layout.view_scores(*job) for job in ablation.view_jobs() if job in run.view_jobs()]
    masks = [run.layout.mask_scores(*job) for job in ablation.mask_jobs() if job in run.mask_jobs()]
    heads = [run.layout.head_scores(*job) for job in ablation.input_mask_jobs() if job in run.input_mask_jobs()]
    return [*beside, *masks, *heads]


def expected_scores(raw: Mapping[str, Any]) -> tuple[RunConfig, ExpectedScores]:
    """The run's configuration, and the scores that a workflow (or one of its ablation modules) makes.

    Args:
        raw: the workflow's `config`; a module's also names its `ablation`, and holds the run's options as they are.
            `redo` and `continue`, which a call may set, are no options of the run.
    """
    from wildrayzer.config import parse_config

    options = {name: value for name, value in raw.items() if name not in ("ablation", "redo", "continue")}
    config = parse_config(options, source="configuration")
    if "ablation" in raw:
        return config, ablation_scores(config, str(raw["ablation"]))
    return config, ExpectedScores(config, RunLayout(config.name))
