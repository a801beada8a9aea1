"""List the parts of a split's residuals."""

from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.patch_masks import list_residuals

with workflow_job(snakemake):
    list_residuals(
        snakemake.input.receipts,
        store_path=snakemake.input.store,
        windows_path=snakemake.input.windows,
        out_path=snakemake.output.residuals,
        psnr_filter=snakemake.params.psnr_filter,
    )
