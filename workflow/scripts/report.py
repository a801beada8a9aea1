"""Write the report."""

from pathlib import Path

from wildrayzer.config.effects import completed
from wildrayzer.run.job_options import run_config
from wildrayzer.run.layout import RunLayout
from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.write_report import write_report

with workflow_job(snakemake):
    out = Path(snakemake.output[0])
    config = completed(snakemake.params.config, run_config(snakemake.config))
    # output is ROOT/NAME/report/index.html
    write_report(config=config, layout=RunLayout(config.name, str(out.parents[2])), out=out)
