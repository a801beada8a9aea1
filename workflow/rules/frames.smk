"""Frames: any split in its outside layout becomes a frame store, and its residual windows are planned."""


# `update`: Snakemake deletes other outputs before a job runs. The manifest stays until the job replaces it, so that the
# split can be used meanwhile, and its parts, which lie in the folder beside it, are known to the job.
rule prepare_split:
    input:
        raw=lambda wildcards: raw_of(wildcards.split),
    output:
        store=update(RUN.store("{split}")),
        report=RUN.data_report("{split}"),
        sheet=RUN.data_sheet("{split}"),
    log:
        RUN.log("prepare_split", "{split}"),
    benchmark:
        RUN.benchmark("prepare_split", "{split}")
    conda:
        "../../environment.yml"
    threads: preparation_processes
    resources:
        mem_mb=lambda wildcards, threads: 1_200 + 800 * threads,
        runtime=1_440,
    params:
        split=lambda wildcards: deciding_options(CFG.data.splits[wildcards.split]),
        store=deciding_options(CFG.data.store),
        image_size=CFG.model.image_size,
        version=STAGE_VERSIONS["frames"],
    message:
        "Preparing the frame store of {wildcards.split}"
    script:
        "../scripts/prepare_split.py"


rule plan_windows:
    input:
        store=RUN.store("{split}"),
    output:
        windows=RUN.windows("{split}"),
    log:
        RUN.log("plan_windows", "{split}"),
    benchmark:
        RUN.benchmark("plan_windows", "{split}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=30,
    params:
        residuals={
            "targets": CFG.residuals.targets,
            "inputs": CFG.residuals.inputs,
        },
        version=STAGE_VERSIONS["windows"],
    message:
        "Planning the residual windows of {wildcards.split}"
    script:
        "../scripts/plan_windows.py"
