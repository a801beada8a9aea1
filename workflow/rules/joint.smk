"""Stages 4 and 5: masked reconstruction, joint training with copy-paste, and the control without masks."""

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
                for split in CFG.data.of(role="static", use="test")[:1]
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


rule train_joint:
    input:
        unpack(lambda wildcards: cutouts()),
        parent=RUN.checkpoint("masked" if CFG.masked else "distill", "{round}"),
        static_store=RUN.store(CFG.data.static_train),
        weights=weight_files(perceptual=True, features=True),
        dynamic_store=RUN.store(CFG.data.dynamic_train),
        residuals=RUN.residuals("{round}", CFG.data.dynamic_train),
        pixel_masks=RUN.pixel_masks("{round}", CFG.data.dynamic_train),
        validation_store=[
            RUN.store(split) for split in CFG.data.of(role="static", use="test")[:1]
        ],
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
        job=training_job("joint"),
        state=RUN.state("joint", "{round}"),
    message:
        f"Joint training with copy-paste: {CFG.joint.steps} steps, round {{wildcards.round}}"
    script:
        "../scripts/train.py"


rule train_unmasked:
    input:
        parent=lambda wildcards: renderer_of(wildcards.round),
        static_store=RUN.store(CFG.data.static_train),
        weights=weight_files(perceptual=True),
        dynamic_store=RUN.store(CFG.data.dynamic_train),
        validation_store=[
            RUN.store(split) for split in CFG.data.of(role="static", use="test")[:1]
        ],
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
        job=training_job("unmasked"),
        state=RUN.state("unmasked", "{round}"),
    message:
        "Control: the same data and as many steps as masked and joint training, without masks"
    script:
        "../scripts/train.py"
