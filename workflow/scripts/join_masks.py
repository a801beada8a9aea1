"""Join the parts of a split's pixel masks."""

from wildrayzer.run.logs import job_log
from wildrayzer.stages.refine import join_masks

with job_log(snakemake.log[0], dict(snakemake.params.items())):
    join_masks(
        snakemake.input.parts,
        patch_masks_path=snakemake.input.masks,
        out_path=snakemake.output.masks,
    )
