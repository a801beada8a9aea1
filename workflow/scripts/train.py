"""Run a training stage."""

import time
from pathlib import Path

from wildrayzer.config.effects import completed
from wildrayzer.run.continuation import continued_names
from wildrayzer.run.job_options import run_config, training_sections
from wildrayzer.run.logs import workflow_job

STARTED = time.time()  # the walltime counts while torch is loaded


def first(value):
    """A named input is a path, or a list of none or one."""
    return value if isinstance(value, str) or value is None else next(iter(value), None)


with workflow_job(snakemake):
    from wildrayzer.stages.train import train
    from wildrayzer.training.job import TrainingJob
    from wildrayzer.training.resume import job_deadline

    masks = first(snakemake.input.get("pixel_masks"))
    names = ("parent", "dynamic_store", "residuals", "validation_store")
    files = {name: first(snakemake.input.get(name)) for name in names}
    config = run_config(snakemake.config)
    compute = config.compute
    sections = {
        name: completed(snakemake.params.options[name], section)
        for name, section in training_sections(config, snakemake.params.recipe).items()
    }
    train(
        TrainingJob(
            recipe=snakemake.params.recipe,
            seed=snakemake.params.seed,
            **sections,
            device=compute.device,
            processes=compute.world_size,
            nodes=compute.nodes,
            compile=compute.compile,
            activation_gb=compute.activation_gb,
            preload_mb=config.data.store.preload_mb,
            **files,
            static_store=snakemake.input.static_store,
            masks=str(Path(masks).parent) if masks else None,
            cutout_annotations=snakemake.input.get("annotations"),
            cutout_images=snakemake.input.get("images"),
            state=snakemake.params.state,
            checkpoint=snakemake.output.checkpoint,
            metrics=snakemake.output.metrics,
            threads=snakemake.threads,
            deadline=job_deadline(snakemake.resources.runtime, started=STARTED),
            continues=snakemake.params.recipe in continued_names(snakemake.config.get("continue")),
            watch=config.watch,
        )
    )
