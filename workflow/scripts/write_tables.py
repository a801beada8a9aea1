"""Write the benchmark tables; a pure function of the scores, without torch."""

from pathlib import Path

from wildrayzer.config.effects import completed
from wildrayzer.evaluation.tables.tables import TableContext
from wildrayzer.run.expected import expected_scores
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.write_tables import load_tables, write_tables

with workflow_job(snakemake):
    scores = list(snakemake.input.scores)
    tables = load_tables(
        scores,
        [str(Path(path).with_suffix(".json")) for path in scores],
        list(snakemake.input.health),
        TableContext.from_config(completed(snakemake.params.config, expected_scores(snakemake.config)[0])),
    )
    write_tables(tables, Path(snakemake.output[0]).parent)
