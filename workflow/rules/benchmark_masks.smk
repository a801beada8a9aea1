"""Scoring of cached pseudo-masks, of masks of input views, and of the renderer's cameras."""


rule score_masks:
    input:
        store=RUN.store("{split}"),
        residuals=RUN.residuals(CFG.rounds, "{split}", "{predictor}"),
        patch_masks=RUN.patch_masks(CFG.rounds, "{split}", "{predictor}"),
        pixel_masks=refined_masks,
    output:
        scores=RUN.mask_scores("{predictor}", "{split}"),
        manifest=RUN.mask_scores("{predictor}", "{split}").replace(".csv", ".json"),
    log:
        RUN.log("score_masks", "{predictor}", "{split}"),
    benchmark:
        RUN.benchmark("score_masks", "{predictor}", "{split}")
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
        "Scoring the pseudo-masks of {wildcards.split} ({wildcards.predictor})"
    script:
        "../scripts/score_masks.py"


rule score_input_masks:
    input:
        store=RUN.store("{split}"),
        index=lambda wildcards: frozen_index(
            wildcards.split, inputs_of_masks(wildcards.mask_method, wildcards.split)
        ),
        checkpoint=lambda wildcards: head_of(wildcards.mask_method),
        outside=lambda wildcards: mask_folder_of(wildcards.mask_method, wildcards.split),
        calibration=lambda wildcards: leave_one_out_inputs(wildcards.mask_method),
        weights=weight_files(features=True),
    output:
        scores=RUN.head_scores("{mask_method}", "{split}"),
        manifest=RUN.head_scores("{mask_method}", "{split}").replace(".csv", ".json"),
    log:
        RUN.log("score_input_masks", "{mask_method}", "{split}"),
    benchmark:
        RUN.benchmark("score_input_masks", "{mask_method}", "{split}")
    wildcard_constraints:
        mask_method="|".join(
            [
                *("distill", "joint", "coseg", "leave_one_out"),
                *CFG.benchmark.checkpoints,
                *CFG.benchmark.masks,
            ]
        ),
    conda:
        "../../environment.yml"
    threads: scoring_threads()
    resources:
        **gpu_resources(1),
        mem_mb=scoring_memory(),
        runtime=120 if CFG.trains else 1_440,
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
        leave_one_out=leave_one_out_options,
        inputs=lambda wildcards: inputs_of_masks(wildcards.mask_method, wildcards.split),
    message:
        "Scoring the input masks of {wildcards.mask_method} on {wildcards.split}"
    script:
        "../scripts/score_input_masks.py"


if RUN.makes("pretrain") and CFG.trains:
    if not CFG.data.of(role="static", purpose="test"):
        raise WorkflowError(
            "data.splits: no split has role: static and purpose: test; the renderer's cameras are scored on one, add it"
        )

    rule score_renderer:
        input:
            store=RUN.store(CFG.data.of(role="static", purpose="test")[0]),
            index=frozen_index(
                CFG.data.of(role="static", purpose="test")[0], CFG.benchmark.inputs[0]
            ),
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
            "Testing the cameras of the static renderer"
        script:
            "../scripts/score_renderer.py"
