"""Residuals of one part of a split's windows."""

import torch

from wildrayzer.config import FeaturesConfig, ResidualsConfig
from wildrayzer.run.logs import job_log
from wildrayzer.stages.residuals import compute_residuals
from wildrayzer.training.distributed import pick_device

with job_log(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    compute_residuals(
        checkpoint_dir=snakemake.input.checkpoint,
        store_path=snakemake.input.store,
        windows_path=snakemake.input.windows,
        config=ResidualsConfig(**snakemake.params.residuals),
        features=FeaturesConfig(**snakemake.params.features),
        predictor=snakemake.wildcards.source,
        part=int(snakemake.wildcards.part),
        parts=int(snakemake.wildcards.parts),
        out_path=snakemake.output.part,
        device=pick_device(snakemake.params.device),
    )
