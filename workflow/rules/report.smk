"""The report: all results of the run on one HTML page."""

from wildrayzer.run.expected import training_runs


rule write_report:
    input:
        tables=tables(),
        pictures=SCORES.pictures(),
        checkpoints=[RUN.checkpoint(*run) for run in training_runs(CFG)],
        metrics=[
            RUN.metrics(stage, number)
            for stage, number in training_runs(CFG)
            if stage != "pretrain" or CFG.pretrained is None
        ],
        data=[RUN.data_report(split) for split in CFG.data.splits],
    output:
        report(
            RUN.report,
            caption="../report/page.rst",
            category="Report",
            labels={"file": "report of the run"},
        ),
    log:
        RUN.log("write_report"),
    benchmark:
        RUN.benchmark("write_report")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime=60,
    params:
        config=deciding_options(CFG),
        version=STAGE_VERSIONS["report"],
        ablations=ablations_made(),
    message:
        "Writing the report"
    script:
        "../scripts/report.py"
