"""Calibrate the absolute test on static clips."""

from wildrayzer.config import PseudoMasksConfig
from wildrayzer.run.logs import job_log
from wildrayzer.stages.patch_masks import calibrate_threshold

with job_log(snakemake.log[0]):
    calibrate_threshold(
        snakemake.input.residuals,
        config=PseudoMasksConfig(**snakemake.params.pseudo_masks),
        out_path=snakemake.output.thresholds,
    )
