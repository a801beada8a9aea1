"""Frames: any split in its outside layout becomes a frame store, and its residual windows are written down."""


rule prepare_split:
    input:
        raw=lambda wildcards: raw_of(wildcards.split),
    output:
        store=directory(RUN.store("{split}")),
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
        split=lambda wildcards: CFG.data.splits[wildcards.split].model_dump(mode="json"),
        store=CFG.data.store.model_dump(mode="json", exclude={"preload_mb"}),
        image_size=CFG.model.image_size,
        expected=lambda wildcards: expected_counts(wildcards.split),
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
        residuals=CFG.residuals.model_dump(mode="json", include={"targets", "inputs"}),
    message:
        "Writing down the residual windows of {wildcards.split}"
    script:
        "../scripts/plan_windows.py"
