"""Fetch a source."""

from wildrayzer.sources.fetch import fetch_source
from wildrayzer.sources.table import load_table
from wildrayzer.stages.logs import job_log

with job_log(snakemake.log[0]):
    fetch_source(load_table(snakemake.params.table), snakemake.params.source, parts=snakemake.params.parts)
