"""What the named targets stand for: which masks, scores and tables a run makes."""


def mask_jobs():
    """(split, source) pairs whose pseudo-masks a run needs: training, and truth with its controls."""
    return PLAN.cached_masks()


def ablation_plans():
    """Plans of the ablations that are part of the tables."""
    return [ablation_plan(CFG, name) for name in CFG.benchmark.ablations]


def table_scores():
    """Score files that go into the tables: an ablation's stand beside those of the run."""
    if PLAN.ablation is not None:
        return [
            *compared_files(ScorePlan(MAIN, RunLayout(MAIN.name)), PLAN),
            *PLAN.files(),
        ]
    return [
        *PLAN.files(),
        *(file for plan in ablation_plans() for file in plan.files()),
    ]


def scores():
    """All score files, and pictures of what cannot be scored."""
    return [*table_scores(), *PLAN.pictures(), RUN.renderer_scores]


def tables():
    """The benchmark tables."""
    return f"{RUN.tables}/tables.md"


EMBEDDED = [
    name for name, split in CFG.data.splits.items() if split.layout == "embedded"
]
