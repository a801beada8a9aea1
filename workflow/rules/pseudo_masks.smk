"""Stage 2b: thresholds of the absolute test, fusion and voting; from the cached maps only, without a GPU."""


rule calibrate_threshold:
    input:
        residuals=lambda wildcards: [
            RUN.residuals(wildcards.round, split, wildcards.predictor)
            for split in CFG.data.of(purpose="calibration")
        ],
    output:
        thresholds=RUN.thresholds("{round}", "{predictor}"),
    log:
        RUN.log("calibrate_threshold", "round{round}", "{predictor}"),
    benchmark:
        RUN.benchmark("calibrate_threshold", "round{round}", "{predictor}")
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
        residuals=RUN.residuals("{round}", "{split}", "{predictor}"),
        thresholds=(
            []
            if CFG.pseudo_masks.absolute_test == "off"
            else RUN.thresholds("{round}", "{predictor}")
        ),
    output:
        # stays until the new one is written, see list_residuals
        masks=update(RUN.patch_masks("{round}", "{split}", "{predictor}")),
    log:
        RUN.log("vote_masks", "round{round}", "{split}", "{predictor}"),
    benchmark:
        RUN.benchmark("vote_masks", "round{round}", "{split}", "{predictor}")
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
        "Voting on the clusters of {wildcards.split} ({wildcards.predictor})"
    script:
        "../scripts/vote_masks.py"
