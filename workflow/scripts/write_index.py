"""Write down the evaluation windows of a set."""

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.score_views import write_index

config = run_config(snakemake.config)
benchmark = completed(snakemake.params.benchmark, config.benchmark.for_set(snakemake.wildcards.evaluation_set))

with workflow_job(snakemake):
    write_index(
        snakemake.wildcards.evaluation_set,
        inputs=int(snakemake.wildcards.inputs),
        store_path=snakemake.input.store,
        config=benchmark,
        out=snakemake.output[0],
    )
