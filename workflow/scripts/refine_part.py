"""Refine the patch masks of one job's parts of a split."""

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.refine import refine_part

with workflow_job(snakemake):
    refine_part(
        patch_masks_path=snakemake.input.masks,
        store_path=snakemake.input.store,
        config=completed(snakemake.params.refine, run_config(snakemake.config).refine),
        job=int(snakemake.wildcards.job),
        jobs=int(snakemake.wildcards.jobs),
        out_path=snakemake.params.manifest,
        receipt_path=snakemake.output.receipt,
        workers=snakemake.threads,
    )
