"""Score a motion head on a split."""

import torch

from wildrayzer.config import BenchmarkConfig, FeaturesConfig
from wildrayzer.stages.logs import job_log
from wildrayzer.stages.score_masks import score_head
from wildrayzer.training.distributed import pick_device

with job_log(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    score_head(
        snakemake.wildcards.stage,
        split=snakemake.wildcards.split,
        inputs=snakemake.params.inputs,
        store_path=snakemake.input.store,
        checkpoint_dir=snakemake.input.checkpoint,
        config=BenchmarkConfig(**snakemake.params.benchmark),
        features=FeaturesConfig(**snakemake.params.features),
        scores=snakemake.output.scores,
        manifest=snakemake.output.manifest,
        device=pick_device(snakemake.params.device),
    )
