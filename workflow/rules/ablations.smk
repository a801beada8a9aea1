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


# A module's name, and the prefix of its rules, are looked up by the names of these variables.
for name, made in ABLATION_TABLES.items():
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
            made,
        localrule: True
