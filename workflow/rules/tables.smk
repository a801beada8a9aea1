"""Tables: a pure function of the scores, without torch."""


rule write_tables:
    input:
        views=view_scores(),
        masks=mask_scores(),
        health=RUN.renderer_scores,
    output:
        multiext(
            f"{RUN.tables}/", "tables.md", "tables.tex", "summary.csv", "claims.csv"
        ),
    log:
        RUN.log("write_tables"),
    benchmark:
        RUN.benchmark("write_tables")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=15,
    params:
        config=CFG.model_dump(mode="json"),
    message:
        "Writing the benchmark tables"
    script:
        "../scripts/write_tables.py"
