"""Vote on clusters."""

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.patch_masks import vote_masks

with workflow_job(snakemake):
    vote_masks(
        residuals_path=snakemake.input.residuals,
        config=completed(snakemake.params.pseudo_masks, run_config(snakemake.config).pseudo_masks),
        thresholds_path=snakemake.input.get("thresholds") or None,
        out_path=snakemake.output.masks,
    )
