"""Stage 2a: render the residual windows with the frozen renderer; dissimilarity maps, clusters and PSNR.

Jobs write parts, which are no declared outputs: parts that are there stay, and only missing ones are made. The output of
the stage is the manifest that lists them.
"""


rule residual_part:
    input:
        checkpoint=lambda wildcards: renderer_of(wildcards.round),
        store=RUN.store("{split}"),
        windows=RUN.windows("{split}"),
        weights=weight_files(features=True),
    output:
        receipt=temp(
            RUN.residual_receipt(
                "{round}", "{split}", "{predictor}", "{job}", "{jobs}"
            )
        ),
    log:
        RUN.log(
            "residual_part",
            "round{round}",
            "{split}",
            "{predictor}",
            "{job}",
            "{jobs}",
        ),
    benchmark:
        RUN.benchmark(
            "residual_part",
            "round{round}",
            "{split}",
            "{predictor}",
            "{job}",
            "{jobs}",
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
        manifest=RUN.residuals("{round}", "{split}", "{predictor}"),
    message:
        "Residuals of {wildcards.split} ({wildcards.predictor}), job {wildcards.job} of {wildcards.jobs}"
    script:
        "../scripts/residual_part.py"


rule list_residuals:
    input:
        receipts=lambda wildcards: [
            RUN.residual_receipt(
                wildcards.round, wildcards.split, wildcards.predictor, *job
            )
            for job in job_names(wildcards.split)
        ],
        store=RUN.store("{split}"),
        windows=RUN.windows("{split}"),
    output:
        # Snakemake removes other outputs before their job runs. The manifest stays: it is read until the new one is
        # written, and says which parts were in use.
        residuals=update(RUN.residuals("{round}", "{split}", "{predictor}")),
    log:
        RUN.log("list_residuals", "round{round}", "{split}", "{predictor}"),
    benchmark:
        RUN.benchmark("list_residuals", "round{round}", "{split}", "{predictor}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=60,
    params:
        psnr_filter=CFG.distill.psnr_filter,
    message:
        "Listing the residuals of {wildcards.split} ({wildcards.predictor}); every part must be there once"
    script:
        "../scripts/list_residuals.py"
