"""Join the parts of a split's residuals."""

from wildrayzer.run.logs import job_log
from wildrayzer.stages.patch_masks import join_residuals

with job_log(snakemake.log[0], dict(snakemake.params.items())):
    join_residuals(
        snakemake.input.parts,
        windows_path=snakemake.input.windows,
        out_path=snakemake.output.residuals,
        psnr_filter=snakemake.params.psnr_filter,
    )
