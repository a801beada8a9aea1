"""Score masks of the input views: a motion head, co-segmentation, or files."""

import torch

from wildrayzer.run.job_options import completed, run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.score_inputs import cosegmented, head_masks, masks_from_files, score_input_masks
from wildrayzer.training.distributed import pick_device

config = run_config(snakemake.config)
benchmark = completed(snakemake.params.benchmark, config.benchmark.for_set(snakemake.wildcards.split))

with workflow_job(snakemake):
    torch.set_num_threads(snakemake.threads)
    name, device = snakemake.wildcards.name, pick_device(config.compute.device)
    checkpoint, outside = snakemake.input.get("checkpoint"), snakemake.input.get("outside")
    options = {
        "config": benchmark,
        "features": completed(snakemake.params.features, config.features),
        "device": device,
    }
    if checkpoint:
        source = head_masks(name, checkpoint, **options)
    elif outside:
        source = masks_from_files(name, outside)
    else:
        source = cosegmented(**options, patch_size=snakemake.params.patch_size)
    score_input_masks(
        source,
        split=snakemake.wildcards.split,
        inputs=snakemake.params.inputs,
        store_path=snakemake.input.store,
        config=options["config"],
        scores=snakemake.output.scores,
        manifest=snakemake.output.manifest,
        device=device,
        variant=snakemake.params.variant,
    )
