"""Take a finished static renderer in place of pretraining."""

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config, ungated
from wildrayzer.run.logs import workflow_job
from wildrayzer.training.starting_weights import adopt_pretrained

options = completed(snakemake.params.model, ungated(run_config(snakemake.config).model))

with workflow_job(snakemake):
    adopt_pretrained(snakemake.input.checkpoint, snakemake.output.checkpoint, model=options)
