"""Write down the evaluation windows of a set."""

from wildrayzer.run.job_options import completed, run_config
from wildrayzer.run.logs import job_log
from wildrayzer.stages.evaluation_index import write_index

config = run_config(snakemake.config)
benchmark = completed(snakemake.params.benchmark, config.benchmark.for_set(snakemake.wildcards.split))

with job_log(snakemake.log[0], dict(snakemake.params.items())):
    write_index(
        snakemake.wildcards.split,
        inputs=int(snakemake.wildcards.inputs),
        store_path=snakemake.input.store,
        config=benchmark,
        out=snakemake.output[0],
    )
