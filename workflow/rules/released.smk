"""A public checkpoint: imported, scored as rows of the tables, and compared with its published figures."""

if CFG.released is not None:

    rule import_released:
        input:
            input_of(CFG.released.file),
        output:
            directory(CFG.imported),
        log:
            RUN.log("import_released"),
        benchmark:
            RUN.benchmark("import_released")
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=16_000,
            runtime=60,
        params:
            inputs=CFG.released.inputs,
            targets=CFG.released.targets,
            canonical=CFG.released.canonical,
            image_size=CFG.model.image_size,
        message:
            "Importing the public checkpoint"
        script:
            "../scripts/import_released.py"
