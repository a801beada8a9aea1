"""Sources: outside data and weights, a job a source; and the embedded data set in the layouts of the sets it stands in for.

A source has a job only while a part of it that the run needs is not in its place. What is there is an input like any
file of the user's: no job can delete it, and no change of code or options fetches it again.
"""

for NAME, PARTS in missing_parts().items():

    rule:
        name:
            f"fetch_{NAME}"
        output:
            [
                (
                    path
                    if TABLE.sources[NAME].parts[part].layout == "file"
                    else directory(path)
                )
                for part, path in PARTS.items()
            ],
        log:
            RUN.log("fetch", NAME),
        benchmark:
            RUN.benchmark("fetch", NAME)
        localrule: True
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=2_000,
            runtime=2_880,
            network=1,
        params:
            source=NAME,
            parts=list(PARTS),
            table=CFG.data.sources,
        message:
            source_message(NAME)
        script:
            "../scripts/fetch_source.py"


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
