"""Refine the patch masks of one part of a split."""

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.refine import refine_part

with workflow_job(snakemake):
    refine_part(
        patch_masks_path=snakemake.input.masks,
        store_path=snakemake.input.store,
        config=completed(snakemake.params.refine, run_config(snakemake.config).refine),
        part=int(snakemake.wildcards.part),
        parts=int(snakemake.wildcards.parts),
        out_path=snakemake.output.part,
        workers=snakemake.threads,
    )
