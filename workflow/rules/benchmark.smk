"""Scoring: a job for each (row, set, number of inputs), and for each set of masks."""


rule score_views:
    input:
        store=lambda wildcards: RUN.store(CFG.benchmark.set_of(wildcards.split).split),
        index=index_of,
        checkpoint=lambda wildcards: checkpoint_of(wildcards.method),
        outside=outside_of,
        weights=weight_files(features=True, lpips=True),
    output:
        scores=RUN.view_scores("{method}", "{split}", "{inputs}"),
        manifest=RUN.view_scores("{method}", "{split}", "{inputs}").replace(
            ".csv", ".json"
        ),
        panels=RUN.view_scores("{method}", "{split}", "{inputs}").replace(
            ".csv", ".npz"
        ),
    log:
        RUN.log("score_views", "{method}", "{split}", "{inputs}"),
    benchmark:
        RUN.benchmark("score_views", "{method}", "{split}", "{inputs}")
    wildcard_constraints:
        method="|".join([*CFG.benchmark.methods, *CFG.benchmark.external_rows]),
        inputs=r"\d+",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **gpu_resources(1),
        mem_mb=16_000 if CFG.compute.gpus else 2_000,
        runtime=240,
        nodes=1,
    params:
        benchmark=lambda wildcards: deciding_options(
            CFG.benchmark.for_set(wildcards.split)
        ),
        spec=lambda wildcards: vars(row_spec(wildcards.method, CFG.benchmark)),
        features=deciding_options(CFG.features),
        variant=SCORES.ablation,
        version=STAGE_VERSIONS["score_views"],
        outside=files_of_row,
    message:
        "Scoring {wildcards.method} on {wildcards.split} with {wildcards.inputs} input views"
    script:
        "../scripts/score_views.py"


# an ablation has the windows of the run
if SCORES.ablation is None:

    rule write_index:
        input:
            store=lambda wildcards: RUN.store(
                CFG.benchmark.set_of(wildcards.split).split
            ),
            index=index_of,
        output:
            RUN.index("{split}", "{inputs}"),
        log:
            RUN.log("write_index", "{split}", "{inputs}"),
        benchmark:
            RUN.benchmark("write_index", "{split}", "{inputs}")
        wildcard_constraints:
            inputs=r"\d+",
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=1_000,
            runtime=15,
        params:
            benchmark=lambda wildcards: deciding_options(
                CFG.benchmark.for_set(wildcards.split)
            ),
        message:
            "Writing down the evaluation windows of {wildcards.split} with {wildcards.inputs} input views"
        script:
            "../scripts/write_index.py"
