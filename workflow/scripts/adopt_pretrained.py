"""Take a finished static renderer in place of pretraining."""

from wildrayzer.config import ModelConfig
from wildrayzer.run.logs import job_log
from wildrayzer.training.starting_weights import adopt_pretrained

with job_log(snakemake.log[0]):
    adopt_pretrained(
        snakemake.input.checkpoint, snakemake.output.checkpoint, model=ModelConfig(**snakemake.params.model)
    )
