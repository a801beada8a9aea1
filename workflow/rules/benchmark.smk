"""Scoring of renderings: one job per method, evaluation set and number of input views."""


rule score_views:
    input:
        store=lambda wildcards: RUN.store(
            CFG.benchmark.set_of(wildcards.evaluation_set).split
        ),
        index=index_of,
        twin=lambda wildcards: twin_store_of(wildcards.evaluation_set),
        checkpoint=lambda wildcards: checkpoint_of(wildcards.method),
        outside=outside_of,
        weights=weight_files(features=True, lpips=True),
    output:
        scores=RUN.view_scores("{method}", "{evaluation_set}", "{inputs}"),
        manifest=RUN.view_scores("{method}", "{evaluation_set}", "{inputs}").replace(
            ".csv", ".json"
        ),
        panels=RUN.view_scores("{method}", "{evaluation_set}", "{inputs}").replace(
            ".csv", ".npz"
        ),
    log:
        RUN.log("score_views", "{method}", "{evaluation_set}", "{inputs}"),
    benchmark:
        RUN.benchmark("score_views", "{method}", "{evaluation_set}", "{inputs}")
    wildcard_constraints:
        method="|".join([*CFG.benchmark.methods, *CFG.benchmark.external_rows]),
        inputs=r"\d+",
    conda:
        "../../environment.yml"
    threads: scoring_threads()
    resources:
        **gpu_resources(1),
        mem_mb=scoring_memory(),
        runtime=240 if CFG.trains else 1_440,
        nodes=1,
    params:
        benchmark=lambda wildcards: deciding_options(
            CFG.benchmark.for_set(wildcards.evaluation_set)
        ),
        spec=lambda wildcards: vars(row_spec(wildcards.method, CFG.benchmark)),
        features=deciding_options(CFG.features),
        variant=SCORES.ablation,
        version=STAGE_VERSIONS["score_views"],
        outside=files_of_row,
    message:
        "Scoring {wildcards.method} on {wildcards.evaluation_set} with {wildcards.inputs} input views"
    script:
        "../scripts/score_views.py"


# An ablation has the evaluation windows of the run.
if SCORES.ablation is None:

    rule write_index:
        input:
            store=lambda wildcards: RUN.store(
                CFG.benchmark.set_of(wildcards.evaluation_set).split
            ),
            index=index_of,
        output:
            RUN.index("{evaluation_set}", "{inputs}", "{origin}"),
        log:
            RUN.log("write_index", "{evaluation_set}", "{inputs}", "{origin}"),
        benchmark:
            RUN.benchmark("write_index", "{evaluation_set}", "{inputs}", "{origin}")
        wildcard_constraints:
            inputs=r"\d+",
            origin="ours|given",
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=1_000,
            runtime=15,
        params:
            benchmark=lambda wildcards: deciding_options(
                CFG.benchmark.for_set(wildcards.evaluation_set)
            ),
        message:
            "Writing the evaluation windows of {wildcards.evaluation_set} with {wildcards.inputs} input views"
        script:
            "../scripts/write_index.py"
