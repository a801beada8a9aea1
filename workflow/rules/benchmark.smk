"""Scoring: a job for each (method, split, number of inputs), and for each set of masks."""


rule score_views:
    input:
        store=RUN.store("{split}"),
        checkpoint=lambda wildcards: checkpoint_of(wildcards.method),
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
        method="|".join(CFG.benchmark.methods),
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
        benchmark=section("benchmark"),
        features=section("features"),
        device=CFG.compute.device,
    message:
        "Scoring {wildcards.method} on {wildcards.split} with {wildcards.inputs} input views"
    script:
        "../scripts/score_views.py"


rule score_masks:
    input:
        store=RUN.store("{split}"),
        residuals=RUN.residuals(CFG.rounds, "{split}", "{source}"),
        patch_masks=RUN.patch_masks(CFG.rounds, "{split}", "{source}"),
        pixel_masks=RUN.pixel_masks(CFG.rounds, "{split}", "{source}"),
    output:
        scores=RUN.mask_scores("{source}", "{split}"),
        manifest=RUN.mask_scores("{source}", "{split}").replace(".csv", ".json"),
    log:
        RUN.log("score_masks", "{source}", "{split}"),
    benchmark:
        RUN.benchmark("score_masks", "{source}", "{split}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=60,
    params:
        pseudo_masks=section("pseudo_masks"),
        inputs=CFG.residuals.inputs,
    message:
        "Scoring the pseudo-masks of {wildcards.split} ({wildcards.source})"
    script:
        "../scripts/score_masks.py"


rule score_head:
    input:
        store=RUN.store("{split}"),
        checkpoint=RUN.checkpoint("{stage}", CFG.rounds),
    output:
        scores=RUN.head_scores("{stage}", "{split}"),
        manifest=RUN.head_scores("{stage}", "{split}").replace(".csv", ".json"),
    log:
        RUN.log("score_head", "{stage}", "{split}"),
    benchmark:
        RUN.benchmark("score_head", "{stage}", "{split}")
    wildcard_constraints:
        stage="distill|joint",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **gpu_resources(1),
        mem_mb=16_000 if CFG.compute.gpus else 2_000,
        runtime=120,
        nodes=1,
    params:
        benchmark=section("benchmark"),
        features=section("features"),
        device=CFG.compute.device,
        inputs=CFG.benchmark.inputs[0],
    message:
        "Scoring the motion head ({wildcards.stage}) on {wildcards.split}"
    script:
        "../scripts/score_head.py"


rule score_renderer:
    input:
        store=RUN.store(CFG.data.of(role="static", use="test")[0]),
        checkpoint=renderer_of(CFG.rounds),
    output:
        scores=RUN.renderer_scores,
    log:
        RUN.log("score_renderer"),
    benchmark:
        RUN.benchmark("score_renderer")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **gpu_resources(1),
        mem_mb=16_000 if CFG.compute.gpus else 2_000,
        runtime=60,
        nodes=1,
    params:
        benchmark=section("benchmark"),
        device=CFG.compute.device,
        split=CFG.data.of(role="static", use="test")[0],
        inputs=CFG.benchmark.inputs[0],
    message:
        "Asking whether the static renderer's cameras are cameras"
    script:
        "../scripts/score_renderer.py"
