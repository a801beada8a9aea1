"""Ablations: each is a module of the same rules and has a target `ablation_NAME`."""

from wildrayzer.config.variants import ablations_of
from wildrayzer.io.digests import digest_file

ABLATION_TABLES = {
    name: f"{ablation_scores(CFG, name).layout.tables}/tables.md"
    for name in ablations_of(CFG)
}


def ablations_made():
    """Digests of the tables that ablations have of their own: new tables rewrite the report, which requires none."""
    return {
        name: digest_file(path)
        for name, path in ABLATION_TABLES.items()
        if Path(path).is_file()
    }


def modules_asked_for():
    """Ablations whose rules this call may need: those of the tables, and those that it names in a target or a job.
    Their rules take as long to read as all others together, and every job of the workflow reads them.
    """
    call = workflow.dag_settings
    if call is None:  # rules are only listed or linted
        return list(ABLATION_TABLES)
    named = [
        call.targets,
        call.forcerun,
        call.until,
        call.omit_from,
        call.allowed_rules,
    ]
    asked = [str(target) for targets in named for target in targets]
    asked += [job.rulename for job in call.target_jobs]
    return [
        name
        for name in ABLATION_TABLES
        if "ablations" in asked
        or name in CFG.benchmark.ablations
        or any(name in target for target in asked)
    ]


# A module's name, and the prefix of its rules, are looked up by the names of these variables.
for name in modules_asked_for():
    ablation, prefix = f"in_{name}", f"{name}_"

    module:
        name: ablation
        snakefile:
            "../ablation.smk"
        config:
            {**config, "ablation": name}

    use rule * from ablation as prefix*

    rule:
        name:
            f"ablation_{name}"
        input:
            ABLATION_TABLES[name],
        localrule: True
