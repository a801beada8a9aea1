"""Join the parts of a split's pixel masks."""

from wildrayzer.run.logs import workflow_job
from wildrayzer.stages.refine import join_masks

with workflow_job(snakemake):
    join_masks(
        snakemake.input.parts,
        patch_masks_path=snakemake.input.masks,
        out_path=snakemake.output.masks,
    )
