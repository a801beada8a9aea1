"""Scoring of masks: cached pseudo-masks, and masks of input views; and whether the renderer's cameras are cameras."""


rule score_masks:
    input:
        store=RUN.store("{split}"),
        residuals=RUN.residuals(CFG.rounds, "{split}", "{source}"),
        patch_masks=RUN.patch_masks(CFG.rounds, "{split}", "{source}"),
        pixel_masks=refined_masks,
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
        pseudo_masks=deciding_options(CFG.pseudo_masks),
        version=STAGE_VERSIONS["score_masks"],
        inputs=CFG.residuals.inputs,
        variant=SCORES.ablation,
    message:
        "Scoring the pseudo-masks of {wildcards.split} ({wildcards.source})"
    script:
        "../scripts/score_masks.py"


rule score_input_masks:
    input:
        store=RUN.store("{split}"),
        checkpoint=lambda wildcards: head_of(wildcards.name),
        outside=lambda wildcards: mask_folder_of(wildcards.name, wildcards.split),
        weights=weight_files(features=True),
    output:
        scores=RUN.head_scores("{name}", "{split}"),
        manifest=RUN.head_scores("{name}", "{split}").replace(".csv", ".json"),
    log:
        RUN.log("score_input_masks", "{name}", "{split}"),
    benchmark:
        RUN.benchmark("score_input_masks", "{name}", "{split}")
    wildcard_constraints:
        name="|".join(
            [
                *("distill", "joint", "coseg"),
                *CFG.benchmark.checkpoints,
                *CFG.benchmark.masks,
            ]
        ),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **gpu_resources(1),
        mem_mb=16_000 if CFG.compute.gpus else 2_000,
        runtime=120,
        nodes=1,
    params:
        benchmark=lambda wildcards: deciding_options(
            CFG.benchmark.for_set(wildcards.split)
        ),
        features=deciding_options(CFG.features),
        version=STAGE_VERSIONS["score_input_masks"],
        variant=SCORES.ablation,
        patch_size=CFG.model.patch_size,
        outside=files_of_masks,
        inputs=lambda wildcards: CFG.benchmark.inputs_of(
            wildcards.split, wildcards.name
        )[0],
    message:
        "Scoring the masks {wildcards.name} on {wildcards.split}"
    script:
        "../scripts/score_input_masks.py"


if RUN.makes("pretrain"):

    rule score_renderer:
        input:
            store=RUN.store(CFG.data.of(role="static", purpose="test")[0]),
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
            benchmark=deciding_options(
                CFG.benchmark.for_set(CFG.data.of(role="static", purpose="test")[0])
            ),
            bootstrap=CFG.benchmark.bootstrap,
            version=STAGE_VERSIONS["score_renderer"],
            split=CFG.data.of(role="static", purpose="test")[0],
            inputs=CFG.benchmark.inputs[0],
        message:
            "Asking whether the static renderer's cameras are cameras"
        script:
            "../scripts/score_renderer.py"
