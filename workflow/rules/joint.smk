"""Stage 5: joint training with copy-paste."""


rule train_joint:
    input:
        unpack(lambda wildcards: cutouts()),
        parent=RUN.checkpoint("masked" if CFG.masked else "distill", "{round}"),
        static_store=RUN.store(CFG.data.static_train),
        weights=weight_files(perceptual=True, features=True),
        dynamic_store=RUN.store(CFG.data.dynamic_train),
        residuals=RUN.residuals("{round}", CFG.data.dynamic_train),
        pixel_masks=RUN.pixel_masks("{round}", CFG.data.dynamic_train),
        validation_store=validation_store(),
    output:
        checkpoint=directory(RUN.checkpoint("joint", "{round}")),
        metrics=RUN.metrics("joint", "{round}"),
    log:
        RUN.log("joint", "round{round}"),
    benchmark:
        RUN.benchmark("joint", "round{round}")
    priority: 10
    conda:
        "../../environment.yml"
    threads: training_threads("joint")
    resources:
        **training_resources(),
    params:
        recipe="joint",
        seed=CFG.seed,
        options=training_options("joint"),
        splits=training_splits("joint"),
        version=STAGE_VERSIONS["train"],
        state=RUN.state("joint", "{round}"),
    message:
        f"Joint training with copy-paste: {CFG.joint.steps} steps, round {{wildcards.round}}"
    script:
        "../scripts/train.py"
