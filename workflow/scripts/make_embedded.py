"""Generate an embedded split."""

from wildrayzer.config import EmbeddedConfig
from wildrayzer.run.logs import job_log
from wildrayzer.stages.prepare import make_embedded

with job_log(snakemake.log[0], dict(snakemake.params.items())):
    make_embedded(
        EmbeddedConfig(**snakemake.params.embedded),
        image_size=snakemake.params.image_size,
        split=snakemake.wildcards.split,
        out_dir=snakemake.output.folder,
        threads=snakemake.threads,
    )
