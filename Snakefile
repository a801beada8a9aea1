"""WildRayZer, the pipeline: raw frames to pseudo-masks, trained models and benchmark tables."""

from snakemake.utils import min_version

min_version("9.0")

if "name" not in config:

    configfile: "config/demo.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/sources_common.smk"
include: "workflow/rules/sources.smk"
include: "workflow/rules/frames.smk"


# A run without training clips only scores what comes from elsewhere.
if CFG.trains:

    include: "workflow/rules/pretrain.smk"


# A run of the static renderer alone (model.motion_head: null) ends after pretraining and scores.
if CFG.learns_motion:

    include: "workflow/rules/residuals.smk"
    include: "workflow/rules/pseudo_masks.smk"
    include: "workflow/rules/refine.smk"
    include: "workflow/rules/distill.smk"
    include: "workflow/rules/masked.smk"
    include: "workflow/rules/joint.smk"
    include: "workflow/rules/unmasked.smk"


include: "workflow/rules/benchmark_common.smk"
include: "workflow/rules/released.smk"
include: "workflow/rules/benchmark.smk"
include: "workflow/rules/benchmark_masks.smk"
include: "workflow/rules/ablations.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/checks.smk"


localrules:
    all,
    frames,
    pretrain,
    residuals,
    pseudo_masks,
    refine,
    distill,
    masked,
    joint,
    scores,
    evaluation_index,
    benchmark_tables,
    released_table,
    ablations,
    report,


rule all:
    default_target: True
    input:
        tables(),
        [RUN.report] if CFG.trains else [],


rule frames:
    input:
        [RUN.store(split) for split in CFG.data.splits],


rule pretrain:
    input:
        RUN.checkpoint("pretrain") if CFG.trains else [],


rule residuals:
    input:
        [RUN.residuals(CFG.rounds, split, source) for split, source in mask_jobs()],


rule pseudo_masks:
    input:
        [RUN.patch_masks(CFG.rounds, split, source) for split, source in mask_jobs()],


rule refine:
    input:
        [
            RUN.pixel_masks(CFG.rounds, split, source)
            for split, source in mask_jobs()
            if source == "renderer"
        ],


rule distill:
    input:
        checkpoint_of_stage("distill"),


rule masked:
    input:
        checkpoint_of_stage("masked"),


rule joint:
    input:
        checkpoint_of_stage("joint"),


rule scores:
    input:
        scores(),


rule evaluation_index:
    input:
        index_files(),


rule benchmark_tables:
    input:
        tables(),


rule released_table:
    input:
        tables() if CFG.released else [],


rule ablations:
    input:
        ABLATION_TABLES.values(),


rule report:
    input:
        RUN.report,
