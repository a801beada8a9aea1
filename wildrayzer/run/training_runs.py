"""The training stages of a run; light enough for the workflow to import."""

from wildrayzer.config import RunConfig


def training_runs(config: RunConfig) -> list[tuple[str, int | None]]:
    """(stage, round) of every training stage of a run, in order; pretraining has no round."""
    stages = ["distill", *(["masked"] if config.masked else []), "joint"]
    last = [("unmasked", config.rounds)] if "unmasked" in config.benchmark.methods else []
    return [("pretrain", None), *((s, n) for n in range(1, config.rounds + 1) for s in stages), *last]


def stage_name(stage: str, number: int | None) -> str:
    """Name of a training run for people."""
    return stage if number is None else f"{stage}, round {number}"
