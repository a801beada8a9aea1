"""Ablations: each a module of the same rules and a target `ablation_NAME`."""

from wildrayzer.config.variants import ablations_of

ABLATION_TABLES = {
    name: f"{ablation_scores(CFG, name).layout.tables}/tables.md"
    for name in ablations_of(CFG)
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
