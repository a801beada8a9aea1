"""Render and score a method on a split."""

import torch

from wildrayzer.config import BenchmarkConfig, FeaturesConfig
from wildrayzer.run.logs import job_log
from wildrayzer.run.row_specs import RowSpec
from wildrayzer.stages.score import score_method
from wildrayzer.training.distributed import pick_device

with job_log(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    score_method(
        snakemake.wildcards.method,
        split=snakemake.wildcards.split,
        inputs=int(snakemake.wildcards.inputs),
        store_path=snakemake.input.store,
        checkpoint_dir=snakemake.input.get("checkpoint") or None,
        config=BenchmarkConfig(**snakemake.params.benchmark),
        features=FeaturesConfig(**snakemake.params.features),
        scores=snakemake.output.scores,
        manifest=snakemake.output.manifest,
        panels=snakemake.output.panels,
        spec=RowSpec(**snakemake.params.spec),
        folder=snakemake.input.get("outside") or None,
        variant=snakemake.params.variant,
        device=pick_device(snakemake.params.device),
    )
