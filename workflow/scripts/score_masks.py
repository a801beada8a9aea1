"""Score the pseudo-masks of a split."""

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.score_masks import MaskScoringJob, score_masks

with workflow_job(snakemake):
    job = MaskScoringJob(
        split=snakemake.wildcards.split,
        predictor=snakemake.wildcards.predictor,
        store_path=snakemake.input.store,
        residuals_path=snakemake.input.residuals,
        patch_masks_path=snakemake.input.patch_masks,
        pixel_masks_path=snakemake.input.get("pixel_masks") or None,
        config=completed(snakemake.params.pseudo_masks, run_config(snakemake.config).pseudo_masks),
        inputs=snakemake.params.inputs,
        scores=snakemake.output.scores,
        manifest=snakemake.output.manifest,
        variant=snakemake.params.variant,
    )
    score_masks(job)
