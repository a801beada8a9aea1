"""Prepare a frame store."""

from wildrayzer.config.effects import completed
from wildrayzer.datasets.table import load_table
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.prepare import prepare_split

data = run_config(snakemake.config).data
split = completed(snakemake.params.split, data.splits[snakemake.wildcards.split])
scenes, frames = load_table(data.sources).published_counts(split.source)

with workflow_job(snakemake):
    prepare_split(
        split,
        # the run's link to a source's part is what the job waits for; messages and the report name the place itself
        split.path or snakemake.input.raw,
        snakemake.output.store,
        image_size=snakemake.params.image_size,
        store=completed(snakemake.params.store, data.store),
        processes=snakemake.threads,
        expected_scenes=scenes,
        expected_frames=frames,
    )
