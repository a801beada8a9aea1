"""What the network asks of a run's data and tables: a motion head of dynamic clips, given cameras of true cameras."""

from collections.abc import Collection, Mapping

from wildrayzer.config.sections.benchmark import GIVEN_ROWS, BenchmarkConfig
from wildrayzer.config.sections.data import DataConfig
from wildrayzer.config.sections.model import ModelConfig
from wildrayzer.config.sections.stages import StageConfig


def check_motion(
    model: ModelConfig, data: DataConfig, benchmark: BenchmarkConfig, *, ablations: Collection[str]
) -> None:
    """A run with motion head has dynamic clips and predicts its cameras; one without ends after pretraining and scores;
    one without training clips only scores what comes from elsewhere.

    Raises:
        ValueError: it is not so, or something needs masks that the run does not make; names the option.
    """
    if data.static_train is None:
        _check_scores_only(data, benchmark, ablations=ablations)
        return
    if model.motion_head is not None:
        if data.dynamic_train is None:
            raise ValueError(
                "data.dynamic_train is missing; name a dynamic split with purpose: train, or set model.motion_head: "
                "null for a run of the static renderer alone"
            )
        if model.cameras == "given":
            raise ValueError(
                "model.cameras: given, but dynamic clips have no true cameras to learn motion with; set "
                "model.motion_head: null for a run of the static renderer alone"
            )
        return
    if data.dynamic_train is not None:
        raise ValueError(
            "model.motion_head: null ends the run after pretraining, which reads no dynamic clips; set "
            f"data.dynamic_train: null in place of {data.dynamic_train!r}"
        )
    rows = ("nearest", "blend", "static_clean", model.renderer_row)
    for row in benchmark.methods:
        if row not in (*rows, *GIVEN_ROWS):
            raise ValueError(
                f"benchmark.methods: {row} is no row of a run without motion head (model.motion_head: null); choose "
                f"from {', '.join(rows)}"
            )
    for option, content in (
        ("benchmark.masks", benchmark.masks),
        ("benchmark.ablations", benchmark.ablations),
        ("ablations", ablations),
    ):
        if content:
            raise ValueError(f"{option} needs the stages after pretraining, but model.motion_head is null; drop it")


def _check_scores_only(data: DataConfig, benchmark: BenchmarkConfig, *, ablations: Collection[str]) -> None:
    own = [row for row in benchmark.methods if row not in ("nearest", "blend")]
    for option, content in (
        ("data.dynamic_train", data.dynamic_train),
        (f"benchmark.methods: {', '.join(own)}", own),
        ("benchmark.masks", benchmark.masks),
        ("benchmark.ablations", benchmark.ablations),
        ("ablations", ablations),
    ):
        if content:
            raise ValueError(
                f"{option} needs a renderer of this run, but data.static_train is missing; name a static split with "
                "purpose: train, or drop it to score only what comes from elsewhere"
            )


def check_cameras(
    model: ModelConfig, data: DataConfig, benchmark: BenchmarkConfig, stages: Mapping[str, StageConfig | None]
) -> None:
    """True cameras are there where the network, a row of the tables or a curriculum needs them.

    Raises:
        ValueError: they are not, or an option has no meaning with given cameras; names the option and the split.
    """
    for row in GIVEN_ROWS:
        if row in benchmark.methods and row != model.renderer_row:
            raise ValueError(
                f"benchmark.methods: {row} is the renderer of a run with another model.kind or model.cameras; this "
                f"run's is {model.renderer_row}. Name a checkpoint of such a run under benchmark.checkpoints.{row}"
            )
    needs: list[tuple[str, str]] = []
    if model.cameras == "given" and data.static_train is not None:
        option = "model.cameras: given" if model.kind == "wildrayzer" else f"model.kind: {model.kind}"
        needs = [(option, split) for split in (data.static_train, *data.of(purpose="test"))]
        pretrain = stages["pretrain"]
        if pretrain is not None and pretrain.crop_pretext.steps:
            raise ValueError(f"pretrain.crop_pretext warms up the pose head, which {option} leaves out; set steps: 0")
    for name, stage in stages.items():
        if stage is None or data.static_train is None:
            continue
        drawn = [("views", stage.views, data.static_train)]
        if stage.dynamic_share and data.dynamic_train is not None:
            own = stage.dynamic_views
            drawn.append(
                ("views", stage.views, data.dynamic_train)
                if own is None
                else ("dynamic_views", own, data.dynamic_train)
            )
        for option, views, split in drawn:
            if views.curriculum is not None and views.curriculum.by == "overlap":
                needs.append((f"{name}.{option}.curriculum.by: overlap", split))
    for option, split in needs:
        section = data.splits[split]
        if not section.has_cameras:
            raise ValueError(
                f"{option} needs true cameras, which data.splits.{split} (layout: {section.layout}, role: "
                f"{section.role}) has none of; take another split, or set its cameras: true if its frames have them"
            )
