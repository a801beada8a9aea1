"""Stage 2c: patch masks become pixel masks (morphology, small components, GrabCut); parallel over frames, no GPU."""


rule refine_masks:
    input:
        masks=RUN.patch_masks("{round}", "{split}", "{source}"),
        store=RUN.store("{split}"),
    output:
        masks=directory(RUN.pixel_masks("{round}", "{split}", "{source}")),
    log:
        RUN.log("refine_masks", "round{round}", "{split}", "{source}"),
    benchmark:
        RUN.benchmark("refine_masks", "round{round}", "{split}", "{source}")
    conda:
        "../../environment.yml"
    threads: CFG.compute.threads
    resources:
        mem_mb=4_000,
        runtime=240,
    params:
        refine=section("refine"),
    message:
        "Refining the masks of {wildcards.split} ({wildcards.source})"
    script:
        "../scripts/refine_masks.py"
