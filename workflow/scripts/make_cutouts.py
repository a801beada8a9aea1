"""Generate the COCO stand-in."""

from pathlib import Path

from wildrayzer.config import EmbeddedConfig
from wildrayzer.run.logs import job_log
from wildrayzer.stages.prepare import make_cutouts

with job_log(snakemake.log[0], dict(snakemake.params.items())):
    make_cutouts(EmbeddedConfig(**snakemake.params.embedded), out_dir=Path(snakemake.output.images).parent)
