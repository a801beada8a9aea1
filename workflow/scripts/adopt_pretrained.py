"""Take a finished static renderer in place of pretraining."""

from wildrayzer.config import ModelConfig
from wildrayzer.stages.logs import job_log
from wildrayzer.stages.starting_weights import adopt_pretrained

with job_log(snakemake.log[0]):
    adopt_pretrained(
        snakemake.input.checkpoint, snakemake.output.checkpoint, model=ModelConfig(**snakemake.params.model)
    )
