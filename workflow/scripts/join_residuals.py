"""Join the parts of a split's residuals."""

from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.patch_masks import join_residuals

with workflow_job(snakemake):
    join_residuals(
        snakemake.input.parts,
        windows_path=snakemake.input.windows,
        out_path=snakemake.output.residuals,
        psnr_filter=snakemake.params.psnr_filter,
    )
