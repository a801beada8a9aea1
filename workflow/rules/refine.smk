"""Stage 2c: patch masks become pixel masks (morphology, small components, GrabCut); parallel over frames, without a GPU.

One job writes a split's masks. Where `refine.shards` is over 1, those of the training split are made in parts instead.
"""


rule refine_masks:
    input:
        masks=RUN.patch_masks("{round}", "{split}", "{predictor}"),
        store=RUN.store("{split}"),
    output:
        masks=directory(RUN.pixel_masks("{round}", "{split}", "{predictor}")),
    log:
        RUN.log("refine_masks", "round{round}", "{split}", "{predictor}"),
    benchmark:
        RUN.benchmark("refine_masks", "round{round}", "{split}", "{predictor}")
    wildcard_constraints:
        split="|".join(
            [split for split in CFG.data.splits if parts_of(split, "refine") == 1]
        ),
    conda:
        "../../environment.yml"
    threads: CFG.compute.threads
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
            part=temp(
                directory(
                    RUN.mask_part(
                        "{round}", "{split}", "{predictor}", "{part}", "{parts}"
                    )
                )
            ),
        log:
            RUN.log(
                "refine_part",
                "round{round}",
                "{split}",
                "{predictor}",
                "{part}",
                "{parts}",
            ),
        benchmark:
            RUN.benchmark(
                "refine_part",
                "round{round}",
                "{split}",
                "{predictor}",
                "{part}",
                "{parts}",
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
        message:
            "Refining {wildcards.split} ({wildcards.predictor}), part {wildcards.part} of {wildcards.parts}"
        script:
            "../scripts/refine_part.py"

    rule join_masks:
        input:
            parts=lambda wildcards: [
                RUN.mask_part(
                    wildcards.round, wildcards.split, wildcards.predictor, *part
                )
                for part in part_names(wildcards.split, "refine")
            ],
            masks=RUN.patch_masks("{round}", "{split}", "{predictor}"),
        output:
            masks=directory(RUN.pixel_masks("{round}", "{split}", "{predictor}")),
        log:
            RUN.log("join_masks", "round{round}", "{split}", "{predictor}"),
        benchmark:
            RUN.benchmark("join_masks", "round{round}", "{split}", "{predictor}")
        wildcard_constraints:
            split=CFG.data.dynamic_train,
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=2_000,
            runtime=60,
        params:
            # those of `refine_masks`, so that another number of parts is no reason to refine again
            refine=deciding_options(CFG.refine),
            version=STAGE_VERSIONS["refine"],
        message:
            "Joining the masks of {wildcards.split} ({wildcards.predictor}); every frame must occur once"
        script:
            "../scripts/join_masks.py"
