"""Stage 1: the static renderer is trained on static clips."""

if CFG.pretrained is None:

    rule train_pretrain:
        input:
            static_store=RUN.store(CFG.data.static_train),
            weights=weight_files(perceptual=True),
            validation_store=validation_store(),
        output:
            checkpoint=directory(RUN.checkpoint("pretrain")),
            metrics=RUN.metrics("pretrain"),
        log:
            RUN.log("pretrain"),
        benchmark:
            RUN.benchmark("pretrain")
        priority: 10
        conda:
            "../../environment.yml"
        threads: training_threads("pretrain")
        resources:
            **training_resources(),
        params:
            recipe="pretrain",
            seed=CFG.seed,
            options=training_options("pretrain"),
            splits=training_splits("pretrain"),
            version=STAGE_VERSIONS["train"],
            state=RUN.state("pretrain"),
        message:
            f"Pretraining the static renderer: {CFG.pretrain.steps} steps of {CFG.pretrain.batch} samples"
        script:
            "../scripts/train.py"

else:

    rule adopt_pretrained:
        input:
            checkpoint=input_of(CFG.pretrained),
        output:
            checkpoint=directory(RUN.checkpoint("pretrain")),
        log:
            RUN.log("adopt_pretrained"),
        benchmark:
            RUN.benchmark("adopt_pretrained")
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=2_000,
            runtime=15,
        params:
            pretrained=CFG.pretrained,
            model=deciding_options(ungated(CFG.model)),
        message:
            f"Taking the static renderer from {CFG.pretrained}"
        script:
            "../scripts/adopt_pretrained.py"
