"""What the named targets stand for: which masks, scores and tables a run makes."""


def mask_jobs():
    """(split, source) pairs whose pseudo-masks a run needs: training, and truth with its controls."""
    return SCORES.cached_masks()


def checkpoint_of_stage(stage):
    """Checkpoint of a stage after pretraining, of the last round; none if the run has no such stage."""
    there = stage in CFG.training_stages and CFG.stage(stage) is not None
    return RUN.checkpoint(stage, CFG.rounds) if there else []


def ablations_in_tables():
    """Scores of the ablations that are part of the tables."""
    return [ablation_scores(CFG, name) for name in CFG.benchmark.ablations]


def table_scores():
    """Score files that go into the tables: an ablation's stand beside those of the run."""
    if SCORES.ablation is not None:
        return [
            *compared_files(ExpectedScores(MAIN, RunLayout(MAIN.name)), SCORES),
            *SCORES.files(),
        ]
    return [
        *SCORES.files(),
        *(file for one in ablations_in_tables() for file in one.files()),
    ]


def scores():
    """All score files, and pictures of what cannot be scored."""
    return [*table_scores(), *SCORES.pictures(), *SCORES.health_scores()]


def index_file_of(name, inputs):
    """The evaluation windows of a set as a file, beside the tables."""
    frozen = CFG.benchmark.set_of(name).index_file(inputs)
    return RUN.index(name, inputs, "ours" if frozen is None else "given")


def index_files():
    """The evaluation windows of all sets, as files."""
    return [index_file_of(*pair) for pair in SCORES.evaluation_windows()]


def drawn_windows():
    """The windows that the run draws itself, which lie beside its tables."""
    return [RUN.index(*pair, "ours") for pair in SCORES.drawn_windows()]


def tables():
    """The benchmark tables."""
    return f"{RUN.tables}/tables.md"
