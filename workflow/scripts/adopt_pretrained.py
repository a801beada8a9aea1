"""Take a finished static renderer in place of pretraining."""

from wildrayzer.run.job_options import completed, run_config, ungated
from wildrayzer.run.logs import job_log
from wildrayzer.training.starting_weights import adopt_pretrained

options = completed(snakemake.params.model, ungated(run_config(snakemake.config).model))

with job_log(snakemake.log[0], dict(snakemake.params.items())):
    adopt_pretrained(snakemake.input.checkpoint, snakemake.output.checkpoint, model=options)
