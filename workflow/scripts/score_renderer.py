"""Health of the static renderer: camera R², frame order, pose use."""

import torch

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.score_renderer import score_renderer_health
from wildrayzer.training.distributed import pick_device

config = run_config(snakemake.config)
benchmark = completed(
    {**snakemake.params.benchmark, "bootstrap": snakemake.params.bootstrap},
    config.benchmark.for_set(snakemake.params.split),
)

with workflow_job(snakemake):
    torch.set_num_threads(snakemake.threads)
    score_renderer_health(
        split=snakemake.params.split,
        inputs=snakemake.params.inputs,
        store_path=snakemake.input.store,
        checkpoint_dir=snakemake.input.checkpoint,
        config=benchmark,
        out=snakemake.output.scores,
        device=pick_device(config.compute.device),
    )
