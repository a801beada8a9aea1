"""Refine patch masks to pixel masks."""

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.refine import refine_masks

with workflow_job(snakemake):
    refine_masks(
        patch_masks_path=snakemake.input.masks,
        store_path=snakemake.input.store,
        config=completed(snakemake.params.refine, run_config(snakemake.config).refine),
        out_path=snakemake.output.masks,
        workers=snakemake.threads,
    )
