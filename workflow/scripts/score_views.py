"""Render and score a method on a split."""

import torch

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.run.row_specs import RowSpec
from wildrayzer.stages.score_views import ViewScoringJob, score_views
from wildrayzer.training.distributed import pick_device

config = run_config(snakemake.config)
benchmark = completed(snakemake.params.benchmark, config.benchmark.for_set(snakemake.wildcards.evaluation_set))

with workflow_job(snakemake):
    torch.set_num_threads(snakemake.threads)
    job = ViewScoringJob(
        row=snakemake.wildcards.method,
        spec=RowSpec(**snakemake.params.spec),
        split=snakemake.wildcards.evaluation_set,
        inputs=int(snakemake.wildcards.inputs),
        store_path=snakemake.input.store,
        checkpoint_dir=snakemake.input.get("checkpoint") or None,
        config=benchmark,
        features=completed(snakemake.params.features, config.features),
        scores=snakemake.output.scores,
        manifest=snakemake.output.manifest,
        panels=snakemake.output.panels,
        twin_path=snakemake.input.get("twin") or None,
        folder=snakemake.input.get("outside") or None,
        variant=snakemake.params.variant,
        device=pick_device(config.compute.device),
    )
    score_views(job)
