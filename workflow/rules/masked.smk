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
            validation_store=[
                RUN.store(split)
                for split in CFG.data.of(role="static", purpose="test")[:1]
            ],
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
            job=training_job("masked"),
            state=RUN.state("masked", "{round}"),
        message:
            f"Masked reconstruction: {CFG.masked.steps} steps, round {{wildcards.round}}"
        script:
            "../scripts/train.py"
