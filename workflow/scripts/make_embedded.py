"""Generate an embedded split."""

from wildrayzer.config import EmbeddedConfig
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.prepare import make_embedded

with workflow_job(snakemake):
    make_embedded(
        EmbeddedConfig(**snakemake.params.embedded),
        image_size=snakemake.params.image_size,
        split=snakemake.wildcards.split,
        out_dir=snakemake.output.folder,
        threads=snakemake.threads,
    )
