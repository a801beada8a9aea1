"""Stage 3: the motion head learns to predict the pseudo-masks from the inputs only; the renderer is frozen."""

DRAWS_DYNAMIC = CFG.distill.dynamic_share > 0


rule train_distill:
    input:
        unpack(lambda wildcards: cutouts() if CFG.distill.paste_share else {}),
        parent=lambda wildcards: renderer_of(wildcards.round),
        static_store=RUN.store(CFG.data.static_train),
        weights=weight_files(features=True),
        # Without dynamic clips, pasted objects need no pseudo-masks, and this ablation can run before they exist.
        dynamic_store=RUN.store(CFG.data.dynamic_train) if DRAWS_DYNAMIC else [],
        residuals=(
            RUN.residuals("{round}", CFG.data.dynamic_train) if DRAWS_DYNAMIC else []
        ),
        pixel_masks=(
            RUN.pixel_masks("{round}", CFG.data.dynamic_train) if DRAWS_DYNAMIC else []
        ),
    output:
        checkpoint=directory(RUN.checkpoint("distill", "{round}")),
        metrics=RUN.metrics("distill", "{round}"),
    log:
        RUN.log("distill", "round{round}"),
    benchmark:
        RUN.benchmark("distill", "round{round}")
    priority: 10
    conda:
        "../../environment.yml"
    threads: training_threads("distill")
    resources:
        **training_resources(),
    params:
        recipe="distill",
        seed=CFG.seed,
        options=training_options("distill"),
        splits=training_splits("distill"),
        version=STAGE_VERSIONS["train"],
        state=RUN.state("distill", "{round}"),
    message:
        f"Distilling the motion head: {CFG.distill.steps} steps, round {{wildcards.round}}"
    script:
        "../scripts/train.py"
