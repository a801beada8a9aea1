"""Score masks of the input views: a motion head, co-segmentation, or files."""

import torch

from wildrayzer.config.effects import completed
from wildrayzer.evaluation.methods.input_masks import cosegmented, head_masks, masks_from_files
from wildrayzer.evaluation.methods.leave_one_out import leave_one_out_masks
from wildrayzer.evaluation.scoring import ScoringJob
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.score_input_masks import score_input_masks
from wildrayzer.training.distributed import pick_device

config = run_config(snakemake.config)
benchmark = completed(snakemake.params.benchmark, config.benchmark.for_set(snakemake.wildcards.split))

with workflow_job(snakemake):
    torch.set_num_threads(snakemake.threads)
    name, device = snakemake.wildcards.mask_method, pick_device(config.compute.device)
    checkpoint, outside = snakemake.input.get("checkpoint"), snakemake.input.get("outside")
    options = {
        "config": benchmark,
        "features": completed(snakemake.params.features, config.features),
        "device": device,
    }
    if name == "leave_one_out":
        own = snakemake.params.leave_one_out
        masks = leave_one_out_masks(
            checkpoint,
            snakemake.input.calibration,
            inputs=snakemake.params.inputs,
            residuals=completed(own["residuals"], config.residuals),
            pseudo_masks=completed(own["pseudo_masks"], config.pseudo_masks),
            **options,
        )
    elif checkpoint:
        masks = head_masks(name, checkpoint, **options)
    elif outside:
        masks = masks_from_files(name, outside)
    else:
        masks = cosegmented(**options, patch_size=snakemake.params.patch_size)
    job = ScoringJob(
        split=snakemake.wildcards.split,
        inputs=snakemake.params.inputs,
        store_path=snakemake.input.store,
        scores=snakemake.output.scores,
        manifest=snakemake.output.manifest,
        variant=snakemake.params.variant,
    )
    score_input_masks(job, masks, config=options["config"], device=device)
