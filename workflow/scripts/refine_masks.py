"""Refine patch masks to pixel masks."""

from wildrayzer.run.job_options import completed, run_config
from wildrayzer.run.logs import job_log
from wildrayzer.stages.refine import refine_masks

with job_log(snakemake.log[0], dict(snakemake.params.items())):
    refine_masks(
        patch_masks_path=snakemake.input.masks,
        store_path=snakemake.input.store,
        config=completed(snakemake.params.refine, run_config(snakemake.config).refine),
        out_path=snakemake.output.masks,
        workers=snakemake.threads,
    )
