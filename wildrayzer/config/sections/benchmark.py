"""Scoring, tables and report."""

import re
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from wildrayzer.config.base import RELEASE, TABLES, FilePath, Observation, Paper, Section

Method = Literal["nearest", "blend", "static", "given_cameras", "lvsm", "static_coseg", "static_true_masks",
                 "static_clean", "distilled", "joint", "joint_true_masks", "joint_clean", "unmasked"]  # fmt: skip
MaskSource = Literal["renderer", "nearest", "blurred"]
METHODS: tuple[str, ...] = get_args(Method)
"""Built-in methods, in the order of the tables."""
GIVEN_ROWS = ("given_cameras", "lvsm")
"""Rows whose renderer is given true cameras: of a run with `model.cameras: given`, or a checkpoint of such a run."""
_NAME = r"[a-z][a-z0-9_]*"
IndexFiles = FilePath | dict[int, FilePath]
"""Frozen index files of a set: one path for all numbers of input views, or a path for each number that has one."""


class ExternalMasks(Section):
    """Masks of any other tool (SAV, MegaSAM, VideoCutler) as files, also in the layout of DAVIS (docs/benchmarks.md).

    Two rows: the masks themselves as `file:NAME`, and the static renderer whose input tokens they gate as
    `static_NAME`."""

    affects = "result"

    folders: dict[str, FilePath]
    """Folder of masks for each split; one that holds `Annotations` is read in the layout of DAVIS."""


class ExternalRenderings(Section):
    """Finished renderings of any other method as files, scored as row NAME; layout: docs/benchmarks.md."""

    affects = "result"

    folders: dict[str, FilePath]
    """Folder of renderings for each set; `{inputs}` in it stands for the number of input views."""


class ExternalCheckpoint(Section):
    """Another checkpoint as row NAME, such as one that `wildrayzer released import` wrote."""

    affects = "result"

    path: FilePath
    """Checkpoint folder."""
    gate: Literal["own", "none", "true"] = "own"
    """`own`: its motion head gates the inputs, and is scored as `head:NAME`. `none`: a static renderer. `true`: true
    masks gate the inputs (an oracle), so that the row is only in the tables of sets that have them."""
    cameras: Literal["predicted", "given"] = "predicted"
    """`given`: the network needs true cameras (LVSM), so that the row is only in the tables of sets that have them."""
    inputs: tuple[int, ...] | None = None
    """Numbers of input views to score it with; null takes those of the set."""


class CosegConfig(Section):
    """Co-segmentation of backbone features: the masks of `static_coseg` and of the row `coseg`."""

    affects = "result"

    clusters: int = Field(10, ge=2, le=255)
    """K-means clusters over the patches of all input views of a window."""
    saliency: float = 0.5
    """A cluster is foreground in a view where its mean saliency exceeds this, in standard deviations of the view."""
    share: float = Field(0.75, gt=0.0, le=1.0)
    """Share of the input views in which a foreground cluster must be foreground."""


class EvaluationSet(Section):
    """A split as one row group of the tables, where it needs other views than the rest of the benchmark."""

    affects = "result"

    split: str
    """Split that the frames come from."""
    inputs: tuple[int, ...] | None = None
    """Numbers of input views; null takes `benchmark.inputs`."""
    targets: int | None = Field(None, ge=1)
    """Target views of drawn windows; null takes `benchmark.targets`. An index file names its own."""
    index: IndexFiles | None = None
    """Frozen index file as in `benchmark.index`; null draws windows."""

    def index_file(self, inputs: int) -> str | None:
        """Index file for a number of input views; None where windows are drawn."""
        found = self.index.get(inputs) if isinstance(self.index, dict) else self.index
        return None if found is None else found.replace("{inputs}", str(inputs))


class BenchmarkConfig(Section):
    """What is scored on what."""

    affects = "result"

    methods: tuple[Method, ...] = ("nearest", "blend", "static", "joint")
    """Rows of the view-synthesis tables. `nearest`, `blend`: image-only controls. `static`: pretrained renderer.
    `given_cameras`, `lvsm`: the pretrained renderer of a run with `model.cameras: given`. `static_coseg`: `static`, its
    inputs gated by co-segmentation. `distilled`: the same with the motion head's masks.
    `joint`: the full method. `*_true_masks`, `*_clean`: bounds. `unmasked`: trained on the same data as long as
    `joint`, without masks."""
    masks: dict[str, ExternalMasks] = Field(default_factory=dict)
    """Masks of other tools by name."""
    renderings: dict[str, ExternalRenderings] = Field(default_factory=dict)
    """Finished renderings of other methods by name."""
    checkpoints: dict[str, ExternalCheckpoint] = Field(default_factory=dict)
    """Other checkpoints by name."""
    coseg: CosegConfig = CosegConfig()
    """Co-segmentation baseline."""
    leave_one_out: bool = False
    """Score masks that need no motion head, row `leave_one_out`: each input is compared with its rendering from the
    other inputs, at thresholds from the calibration split."""
    inputs: Annotated[tuple[int, ...], Paper(TABLES, listed=False)] = (2, 3, 4)
    """Numbers of input views."""
    force_inputs: bool = False
    """Score numbers of input views that a checkpoint was not trained with, and flag them in the tables."""
    targets: Annotated[int, Paper(TABLES, listed=False)] = Field(6, ge=1)
    """Target views."""
    min_distance: int = Field(8, ge=1)
    """Least distance of the end frames in an evaluation window drawn without an index file."""
    max_distance: int | None = Field(None, ge=1)
    """Largest distance of the end frames in such a window; null takes clips as long as they are."""
    index: dict[str, IndexFiles | None] = Field(default_factory=dict)
    """Frozen index file for a split: {scene: {"context": [...], "target": [...]} or null}; `{inputs}` in its path
    stands for the number of input views. Or a file for each number, such as {2: FILE}; for other numbers windows are
    drawn, and for all with null."""
    intersect_index: bool = False
    """Score the scenes that an index file and its split share. Off: scenes that the split lacks, and clips shorter than
    the file asks, are an error."""
    sets: dict[str, EvaluationSet] = Field(default_factory=dict)
    """Further sets of evaluation windows on the splits, such as 16 inputs and 8 targets from an index file."""
    pictures: tuple[str, ...] = ()
    """Test splits without truth, such as own clips: rendered and shown, not scored."""
    mask_sources: tuple[MaskSource, ...] = ("renderer", "nearest")
    """What stands in for the rendering in the mask table: `nearest` copies the nearest input view and `blurred` blurs
    the target: controls that tell motion from texture."""
    mask_splits: tuple[str, ...] | None = None
    """Splits of the mask tables, test or control. Null takes all of these. Every frame of such a split is rendered for
    its pseudo-masks, so that a large static split costs more than all others together."""
    ablations: tuple[str, ...] = ()
    """Ablations that are part of the tables, and so of every run; the others wait for their target."""
    mask_threshold: float = Field(0.5, gt=0.0, lt=1.0)
    """Threshold on the motion probability for IoU and recall."""
    lpips_weights: FilePath | None = None
    """VGG-16 backbone file for LPIPS; null leaves LPIPS out, with the reason stated in the tables."""
    precision: Annotated[Literal["float32", "tf32", "bfloat16"], Paper(RELEASE, "bfloat16", listed=False)] = "float32"
    """Arithmetic of the renderings of view-synthesis rows; metrics are always in float32. `bfloat16` is autocast, as in
    the public release."""
    bootstrap: int = Field(1000, ge=100)
    """Bootstrap resamples over scenes for 95% intervals."""
    panels: Observation[int] = Field(6, ge=0)
    """Scenes shown as pictures."""
    seed: int = 0
    """Seed of evaluation windows and bootstrap."""

    @model_validator(mode="after")
    def _names_are_free(self) -> "BenchmarkConfig":
        taken = [*(row for row in METHODS if row not in GIVEN_ROWS or row in self.methods), "coseg", "distill",
                 "leave_one_out"]  # fmt: skip
        for option in ("masks", "renderings", "checkpoints"):
            for name in getattr(self, option):
                row = f"static_{name}" if option == "masks" else name
                if not re.fullmatch(_NAME, name) or name in taken or row in taken:
                    raise ValueError(
                        f"benchmark.{option}: the name {name!r} is taken, or not of lower-case letters, digits and _; "
                        "rename it"
                    )
                taken += list(dict.fromkeys([name, row]))
        if self.max_distance is not None and self.max_distance < self.min_distance:
            raise ValueError(
                f"benchmark.max_distance = {self.max_distance} is below benchmark.min_distance = {self.min_distance}"
            )
        for name in self.sets:
            if not re.fullmatch(_NAME, name):
                raise ValueError(
                    f"benchmark.sets: the name {name!r} is not of lower-case letters, digits and _; rename it"
                )
        return self

    @property
    def external_rows(self) -> tuple[str, ...]:
        """Rows of the view-synthesis tables that come from outside."""
        return (*(f"static_{name}" for name in self.masks), *self.renderings, *self.checkpoints)

    def has_masks(self, split: str) -> bool:
        """Whether a test or control split is in the mask tables."""
        return split not in self.pictures and (self.mask_splits is None or split in self.mask_splits)

    def set_of(self, name: str) -> EvaluationSet:
        """The evaluation set of this name; a split is one by itself."""
        return self.sets.get(name) or EvaluationSet(split=name, index=self.index.get(name))

    def inputs_of(self, name: str, row: str = "") -> tuple[int, ...]:
        """Numbers of input views that a set is scored with, by the row `row` if it has numbers of its own."""
        counts = self.set_of(name).inputs or self.inputs
        own = self.checkpoints[row].inputs if row in self.checkpoints else None
        return counts if own is None else tuple(count for count in counts if count in own)

    def for_set(self, name: str) -> "BenchmarkConfig":
        """The options that scoring the set `name` depends on: other rows and sets are of no consequence to it."""
        own = self.set_of(name)
        kept = {
            "coseg",
            "force_inputs",
            "intersect_index",
            "lpips_weights",
            "mask_threshold",
            "max_distance",
            "min_distance",
            "panels",
            "precision",
            "seed",
        }
        return BenchmarkConfig(
            **{option: getattr(self, option) for option in kept},
            targets=own.targets or self.targets,
            index={} if own.index is None else {name: own.index},
        )
