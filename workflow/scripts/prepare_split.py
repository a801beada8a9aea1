"""Prepare a frame store."""

from wildrayzer.config import SplitConfig, StoreConfig
from wildrayzer.run.logs import job_log
from wildrayzer.stages.prepare import prepare_split

split = SplitConfig(**snakemake.params.split)

with job_log(snakemake.log[0]):
    prepare_split(
        split,
        # the run's link to a source's part is what the job waits for; messages and the report name the place itself
        split.path or snakemake.input.raw,
        snakemake.output.store,
        image_size=snakemake.params.image_size,
        store=StoreConfig(**snakemake.params.store),
        processes=snakemake.threads,
        expected_scenes=snakemake.params.expected["scenes"],
        expected_frames=snakemake.params.expected["frames"],
    )
