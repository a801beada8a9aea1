"""Stage 4: masked reconstruction."""

if CFG.masked is not None:

    rule train_masked:
        input:
            parent=RUN.checkpoint("distill", "{round}"),
            static_store=RUN.store(CFG.data.static_train),
            weights=weight_files(perceptual=True, features=True),
            dynamic_store=RUN.store(CFG.data.dynamic_train),
            residuals=RUN.residuals("{round}", CFG.data.dynamic_train),
            pixel_masks=RUN.pixel_masks("{round}", CFG.data.dynamic_train),
            validation_store=validation_store(),
        output:
            checkpoint=directory(RUN.checkpoint("masked", "{round}")),
            metrics=RUN.metrics("masked", "{round}"),
        log:
            RUN.log("masked", "round{round}"),
        benchmark:
            RUN.benchmark("masked", "round{round}")
        priority: 10
        conda:
            "../../environment.yml"
        threads: training_threads("masked")
        resources:
            **training_resources(),
        params:
            recipe="masked",
            seed=CFG.seed,
            options=training_options("masked"),
            splits=training_splits("masked"),
            version=STAGE_VERSIONS["train"],
            state=RUN.state("masked", "{round}"),
        message:
            f"Masked reconstruction: {CFG.masked.steps} steps, round {{wildcards.round}}"
        script:
            "../scripts/train.py"
