"""Stage 2a: render the residual windows with the frozen renderer; dissimilarity maps, clusters and PSNR."""


rule residual_part:
    input:
        checkpoint=lambda wildcards: renderer_of(wildcards.round),
        store=RUN.store("{split}"),
        windows=RUN.windows("{split}"),
        weights=weight_files(features=True),
    output:
        part=temp(
            directory(
                RUN.residual_part(
                    "{round}", "{split}", "{predictor}", "{part}", "{parts}"
                )
            )
        ),
    log:
        RUN.log(
            "residual_part",
            "round{round}",
            "{split}",
            "{predictor}",
            "{part}",
            "{parts}",
        ),
    benchmark:
        RUN.benchmark(
            "residual_part",
            "round{round}",
            "{split}",
            "{predictor}",
            "{part}",
            "{parts}",
        )
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **gpu_resources(1),
        mem_mb=64_000 if CFG.compute.gpus else 2_000,
        runtime=480,
        nodes=1,
    params:
        residuals=deciding_options(CFG.residuals),
        features=deciding_options(CFG.features),
        version=STAGE_VERSIONS["residuals"],
    message:
        "Residuals of {wildcards.split} ({wildcards.predictor}), part {wildcards.part} of {wildcards.parts}"
    script:
        "../scripts/residual_part.py"


rule join_residuals:
    input:
        parts=lambda wildcards: [
            RUN.residual_part(
                wildcards.round, wildcards.split, wildcards.predictor, *part
            )
            for part in part_names(wildcards.split)
        ],
        windows=RUN.windows("{split}"),
    output:
        residuals=directory(RUN.residuals("{round}", "{split}", "{predictor}")),
    log:
        RUN.log("join_residuals", "round{round}", "{split}", "{predictor}"),
    benchmark:
        RUN.benchmark("join_residuals", "round{round}", "{split}", "{predictor}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=60,
    params:
        psnr_filter=CFG.distill.psnr_filter,
    message:
        "Joining the residuals of {wildcards.split} ({wildcards.predictor}); every window must occur once"
    script:
        "../scripts/join_residuals.py"
