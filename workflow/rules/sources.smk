"""Sources: the embedded data set in the outside layouts of the sets it stands in for."""

EMBEDDED = [
    name for name, split in CFG.data.splits.items() if split.layout == "embedded"
]


def embedded_params(split):
    """What an embedded split depends on: the generator's options, its own, and those of the split it repeats."""
    made = CFG.data.embedded.model_dump(mode="json", exclude={"splits", "cutouts"})
    names = [split, CFG.data.embedded.splits[split].seed_of]
    splits = {
        name: CFG.data.embedded.splits[name].model_dump(mode="json")
        for name in names
        if name
    }
    return {**made, "splits": splits}


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
        threads: 1
        resources:
            mem_mb=1_000,
            runtime=30,
        params:
            embedded=CFG.data.embedded.model_dump(mode="json", exclude={"splits"}),
            folder=RUN.cutouts,
        message:
            "Generating cut-outs in COCO's layout"
        script:
            "../scripts/make_cutouts.py"
