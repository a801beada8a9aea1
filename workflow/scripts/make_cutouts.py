"""Generate the COCO stand-in."""

from pathlib import Path

from wildrayzer.config import EmbeddedConfig
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.prepare import make_cutouts

with workflow_job(snakemake):
    make_cutouts(EmbeddedConfig(**snakemake.params.embedded), out_dir=Path(snakemake.output.images).parent)
