"""Calibrate the absolute test on static clips."""

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.patch_masks import calibrate_threshold

with workflow_job(snakemake):
    calibrate_threshold(
        snakemake.input.residuals,
        config=completed(snakemake.params.pseudo_masks, run_config(snakemake.config).pseudo_masks),
        out_path=snakemake.output.thresholds,
    )
