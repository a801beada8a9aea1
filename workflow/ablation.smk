"""An ablation as a module: the run's rules with its changes, for the stages that it does not share with the run.

`config` is the run's, with the name of the ablation beside it; common.smk works out what follows.
"""


include: "rules/common.smk"
include: "rules/targets.smk"


for stage in ("residuals", "pseudo_masks", "refine", "distill", "masked", "joint"):
    if RUN.makes(stage):

        include: f"rules/{stage}.smk"


include: "rules/benchmark_common.smk"
include: "rules/benchmark.smk"
include: "rules/benchmark_masks.smk"
include: "rules/tables.smk"
