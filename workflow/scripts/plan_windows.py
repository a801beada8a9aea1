"""Write down the residual windows of a split."""

from wildrayzer.config import ResidualsConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.data.sampling.windows import WindowList
from wildrayzer.run.logs import workflow_job

with workflow_job(snakemake):
    windows = WindowList.build(FrameStore(snakemake.input.store), ResidualsConfig(**snakemake.params.residuals))
    windows.save(snakemake.output.windows)
