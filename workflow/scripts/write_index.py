"""Write down the evaluation windows of a set."""

from wildrayzer.config import BenchmarkConfig
from wildrayzer.run.logs import job_log
from wildrayzer.stages.evaluation_index import write_index

with job_log(snakemake.log[0]):
    write_index(
        snakemake.wildcards.split,
        inputs=int(snakemake.wildcards.inputs),
        store_path=snakemake.input.store,
        config=BenchmarkConfig(**snakemake.params.benchmark),
        out=snakemake.output[0],
    )
