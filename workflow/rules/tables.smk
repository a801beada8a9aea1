"""Tables: a pure function of the scores, without torch."""


rule write_tables:
    input:
        scores=table_scores(),
        health=SCORES.health_scores(),
        windows=drawn_windows(),
    output:
        markdown=report(
            f"{RUN.tables}/tables.md",
            caption="../report/tables.rst",
            category="Benchmark",
            labels={"of": SCORES.ablation or "run", "file": "tables"},
        ),
        latex=f"{RUN.tables}/tables.tex",
        summary=report(
            f"{RUN.tables}/summary.csv",
            caption="../report/tables.rst",
            category="Benchmark",
            labels={"of": SCORES.ablation or "run", "file": "means and intervals"},
        ),
        claims=report(
            f"{RUN.tables}/claims.csv",
            caption="../report/claims.rst",
            category="Benchmark",
            labels={"of": SCORES.ablation or "run", "file": "claims"},
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
        config=deciding_options(MAIN),
        version=STAGE_VERSIONS["tables"],
        ablation=SCORES.ablation,
    message:
        "Writing the benchmark tables"
    script:
        "../scripts/write_tables.py"
