"""Outside data and weights, one job per source; and the embedded data set in the layouts that it stands in for.

The output of a source's job is the run's link to a part, never the place of the part: Snakemake deletes outputs before
an attempt and after a failure, and the files in that place are the user's. A job exists only while its link is missing
or broken, so that no change of code or options repeats it.
"""

for (NAME, THERE), PARTS in parts_without_link().items():

    rule:
        name:
            f"{'take' if THERE else 'fetch'}_{NAME}"
        output:
            [
                (
                    RUN.source(NAME, part)
                    if TABLE.sources[NAME].parts[part].layout == "file"
                    else directory(RUN.source(NAME, part))
                )
                for part in PARTS
            ],
        log:
            RUN.log("fetch", NAME),
        benchmark:
            RUN.benchmark("fetch", NAME)
        retries: 0 if TABLE.sources[NAME].provide else None
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
            parts=PARTS,
            table=CFG.data.sources,
        message:
            source_message(NAME, THERE)
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
            embedded=lambda wildcards: embedded_options(wildcards.split),
            version=STAGE_VERSIONS["embedded"],
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
            embedded=deciding_options(
                CFG.data.embedded.model_copy(update={"splits": {}})
            ),
            version=STAGE_VERSIONS["embedded"],
        message:
            "Generating cut-outs in COCO's layout"
        script:
            "../scripts/make_cutouts.py"
