"""Sources: the embedded data set in the outside layouts of the sets it stands in for."""

if CFG.data.embedded is not None:

    rule make_embedded:
        output:
            folder=directory(RUN.raw("{split}")),
        log:
            RUN.log("make_embedded", "{split}"),
        benchmark:
            RUN.benchmark("make_embedded", "{split}")
        wildcard_constraints:
            split="|".join(EMBEDDED),
        conda:
            "../../environment.yml"
        threads: CFG.compute.threads
        resources:
            mem_mb=2_000,
            runtime=60,
        params:
            embedded=lambda wildcards: embedded_params(wildcards.split),
            image_size=CFG.model.image_size,
        message:
            "Generating the embedded split {wildcards.split}"
        script:
            "../scripts/make_embedded.py"

    rule make_cutouts:
        output:
            annotations=f"{RUN.cutouts}/annotations/instances_train2014.json",
            images=directory(f"{RUN.cutouts}/train2014"),
        log:
            RUN.log("make_cutouts"),
        benchmark:
            RUN.benchmark("make_cutouts")
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=1_000,
            runtime=30,
        params:
            embedded=CFG.data.embedded.model_dump(mode="json", exclude={"splits"}),
        message:
            "Generating cut-outs in COCO's layout"
        script:
            "../scripts/make_cutouts.py"
