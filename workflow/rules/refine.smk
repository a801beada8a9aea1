"""Stage 2c: patch masks become pixel masks (morphology, small components, GrabCut); parallel over frames, without a GPU.

One job makes the parts that are missing and lists all of them. Where `refine.shards` is over 1, that many jobs first share
out the parts of the training split.
"""


rule refine_masks:
    input:
        receipts=mask_receipts,
        masks=RUN.patch_masks("{round}", "{split}", "{predictor}"),
        store=RUN.store("{split}"),
    output:
        # stays until the new one is written, see list_residuals
        masks=update(RUN.pixel_masks("{round}", "{split}", "{predictor}")),
    log:
        RUN.log("refine_masks", "round{round}", "{split}", "{predictor}"),
    benchmark:
        RUN.benchmark("refine_masks", "round{round}", "{split}", "{predictor}")
    conda:
        "../../environment.yml"
    threads: lambda wildcards: (1 if jobs_of(wildcards.split, "refine") > 1 else CFG.compute.threads)
    resources:
        mem_mb=4_000,
        runtime=240,
    params:
        refine=deciding_options(CFG.refine),
        version=STAGE_VERSIONS["refine"],
    message:
        "Refining the masks of {wildcards.split} ({wildcards.predictor})"
    script:
        "../scripts/refine_masks.py"


if CFG.refine.shards > 1:

    rule refine_part:
        input:
            masks=RUN.patch_masks("{round}", "{split}", "{predictor}"),
            store=RUN.store("{split}"),
        output:
            receipt=temp(
                RUN.mask_receipt(
                    "{round}", "{split}", "{predictor}", "{job}", "{jobs}"
                )
            ),
        log:
            RUN.log(
                "refine_part",
                "round{round}",
                "{split}",
                "{predictor}",
                "{job}",
                "{jobs}",
            ),
        benchmark:
            RUN.benchmark(
                "refine_part",
                "round{round}",
                "{split}",
                "{predictor}",
                "{job}",
                "{jobs}",
            )
        conda:
            "../../environment.yml"
        threads: CFG.compute.threads
        resources:
            mem_mb=4_000,
            runtime=240,
        params:
            refine=deciding_options(CFG.refine),
            version=STAGE_VERSIONS["refine"],
            manifest=RUN.pixel_masks("{round}", "{split}", "{predictor}"),
        message:
            "Refining {wildcards.split} ({wildcards.predictor}), job {wildcards.job} of {wildcards.jobs}"
        script:
            "../scripts/refine_part.py"
