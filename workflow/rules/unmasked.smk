"""The control without masks: the same data and as many steps as masked and joint training."""


rule train_unmasked:
    input:
        parent=lambda wildcards: renderer_of(wildcards.round),
        static_store=RUN.store(CFG.data.static_train),
        weights=weight_files(perceptual=True),
        dynamic_store=RUN.store(CFG.data.dynamic_train),
        validation_store=validation_store(),
    output:
        checkpoint=directory(RUN.checkpoint("unmasked", "{round}")),
        metrics=RUN.metrics("unmasked", "{round}"),
    log:
        RUN.log("unmasked", "round{round}"),
    benchmark:
        RUN.benchmark("unmasked", "round{round}")
    priority: 10
    conda:
        "../../environment.yml"
    threads: training_threads("unmasked")
    resources:
        **training_resources(),
    params:
        recipe="unmasked",
        seed=CFG.seed,
        options=training_options("unmasked"),
        splits=training_splits("unmasked"),
        version=STAGE_VERSIONS["train"],
        state=RUN.state("unmasked", "{round}"),
    message:
        "Control: the same data and as many steps as masked and joint training, without masks"
    script:
        "../scripts/train.py"
