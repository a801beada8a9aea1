"""Import a public checkpoint."""

from wildrayzer.released.convert import import_released
from wildrayzer.run.logs import workflow_job

with workflow_job(snakemake):
    import_released(
        snakemake.input[0],
        snakemake.output[0],
        inputs=snakemake.params.inputs,
        targets=snakemake.params.targets,
        image_size=snakemake.params.image_size,
        canonical=snakemake.params.canonical,
    )
