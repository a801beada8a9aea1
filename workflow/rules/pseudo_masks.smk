"""Stage 2b: thresholds of the absolute test, fusion and voting; from the cached maps alone, no GPU."""


rule calibrate_threshold:
    input:
        residuals=lambda wildcards: [
            RUN.residuals(wildcards.round, split, wildcards.source)
            for split in CFG.data.of(purpose="calibration")
        ],
    output:
        thresholds=RUN.thresholds("{round}", "{source}"),
    log:
        RUN.log("calibrate_threshold", "round{round}", "{source}"),
    benchmark:
        RUN.benchmark("calibrate_threshold", "round{round}", "{source}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=30,
    params:
        splits=CFG.data.of(purpose="calibration"),
        pseudo_masks=deciding_options(CFG.pseudo_masks),
        version=STAGE_VERSIONS["pseudo_masks"],
    message:
        f"Calibrating the absolute test to a false-positive rate of {CFG.pseudo_masks.false_positive_rate}"
    script:
        "../scripts/calibrate_threshold.py"


rule vote_masks:
    input:
        residuals=RUN.residuals("{round}", "{split}", "{source}"),
        thresholds=(
            []
            if CFG.pseudo_masks.absolute_test == "off"
            else RUN.thresholds("{round}", "{source}")
        ),
    output:
        masks=directory(RUN.patch_masks("{round}", "{split}", "{source}")),
    log:
        RUN.log("vote_masks", "round{round}", "{split}", "{source}"),
    benchmark:
        RUN.benchmark("vote_masks", "round{round}", "{split}", "{source}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2_000,
        runtime=60,
    params:
        pseudo_masks=deciding_options(CFG.pseudo_masks),
        version=STAGE_VERSIONS["pseudo_masks"],
    message:
        "Voting on the clusters of {wildcards.split} ({wildcards.source})"
    script:
        "../scripts/vote_masks.py"
