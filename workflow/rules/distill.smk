"""Stage 3: the motion head learns to predict the pseudo-masks from the inputs alone; the renderer is frozen."""


rule train_distill:
    input:
        unpack(lambda wildcards: cutouts() if CFG.distill.paste_share else {}),
        parent=lambda wildcards: renderer_of(wildcards.round),
        static_store=RUN.store(CFG.data.static_train),
        weights=weight_files(features=True),
        dynamic_store=RUN.store(CFG.data.dynamic_train),
        residuals=RUN.residuals("{round}", CFG.data.dynamic_train),
        pixel_masks=RUN.pixel_masks("{round}", CFG.data.dynamic_train),
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
        job=training_job("distill"),
        state=RUN.state("distill", "{round}"),
    message:
        f"Distilling the motion head: {CFG.distill.steps} steps, round {{wildcards.round}}"
    script:
        "../scripts/train.py"
