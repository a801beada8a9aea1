"""Residuals of one job's parts of a split."""

import torch

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.residuals import compute_residuals
from wildrayzer.training.distributed import pick_device

config = run_config(snakemake.config)

with workflow_job(snakemake):
    torch.set_num_threads(snakemake.threads)
    compute_residuals(
        checkpoint_dir=snakemake.input.checkpoint,
        store_path=snakemake.input.store,
        windows_path=snakemake.input.windows,
        config=completed(snakemake.params.residuals, config.residuals),
        features=completed(snakemake.params.features, config.features),
        predictor=snakemake.wildcards.predictor,
        job=int(snakemake.wildcards.job),
        jobs=int(snakemake.wildcards.jobs),
        out_path=snakemake.params.manifest,
        receipt_path=snakemake.output.receipt,
        device=pick_device(config.compute.device),
    )
