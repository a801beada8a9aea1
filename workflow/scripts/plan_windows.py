"""Write down the residual windows of a split."""

from wildrayzer.config import ResidualsConfig
from wildrayzer.data.store import FrameStore
from wildrayzer.data.windows import WindowList
from wildrayzer.stages.logs import job_log

with job_log(snakemake.log[0]):
    windows = WindowList.build(FrameStore(snakemake.input.store), ResidualsConfig(**snakemake.params.residuals))
    windows.save(snakemake.output.windows)
