"""Fetch parts of a source that are not in their places, and link the run to all of them."""

from wildrayzer.datasets.fetch import fetch_source, link_part
from wildrayzer.datasets.table import load_table
from wildrayzer.run.logs import workflow_job

with workflow_job(snakemake):
    table, name, parts = load_table(snakemake.params.table), snakemake.params.source, snakemake.params.parts
    fetch_source(table, name, parts=parts)
    for part, link in zip(parts, snakemake.output, strict=True):
        link_part(table, name, part, link)
