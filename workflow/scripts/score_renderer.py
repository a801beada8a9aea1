"""Health of the static renderer: camera R², frame order, pose use."""

import torch

from wildrayzer.config import BenchmarkConfig
from wildrayzer.run.logs import job_log
from wildrayzer.stages.score_renderer import score_renderer_health
from wildrayzer.training.distributed import pick_device

with job_log(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    score_renderer_health(
        split=snakemake.params.split,
        inputs=snakemake.params.inputs,
        store_path=snakemake.input.store,
        checkpoint_dir=snakemake.input.checkpoint,
        config=BenchmarkConfig(**snakemake.params.benchmark),
        out=snakemake.output.scores,
        device=pick_device(snakemake.params.device),
    )
