"""What the named targets stand for: which masks, scores and tables a run makes."""


def sources_of(split):
    """What stands in for the rendering in a split's mask table: the controls need something that moves."""
    wanted = CFG.benchmark.mask_sources
    if CFG.data.splits[split].role == "dynamic":
        return wanted
    return [source for source in wanted if source == "renderer"]


def shown_splits():
    """Splits in the mask tables."""
    return [
        name
        for name, split in CFG.data.splits.items()
        if split.use in ("test", "control")
    ]


def mask_jobs():
    """(split, source) pairs whose pseudo-masks a run needs: training, and truth with its controls."""
    pairs = [
        (split, source) for split in shown_splits() for source in sources_of(split)
    ]
    return [(CFG.data.dynamic_train, "renderer"), *pairs]


def methods_of(split):
    """Methods that a split has the truth for."""
    role = CFG.data.splits[split].role
    needs = {
        "static": ("true_masks", "clean", "distilled"),
        "dynamic": ("clean",),
        "pairs": (),
    }[role]
    return [method for method in CFG.benchmark.methods if not method.endswith(needs)]


def view_scores():
    """Score files of all renderings."""
    tests = CFG.data.of(use="test")
    counts = CFG.benchmark.inputs
    return [
        RUN.view_scores(m, split, k)
        for split in tests
        for m in methods_of(split)
        for k in counts
    ]


def mask_scores():
    """Score files of pseudo-masks and motion heads, wherever the truth is known or is "nothing moves"."""
    masks = [
        RUN.mask_scores(source, split)
        for split in shown_splits()
        for source in sources_of(split)
    ]
    heads = [
        RUN.head_scores(stage, split)
        for split in shown_splits()
        for stage in ("distill", "joint")
    ]
    return [*masks, *heads]


def scores():
    """All score files."""
    return [*view_scores(), *mask_scores(), RUN.renderer_scores]


def tables():
    """The benchmark tables."""
    return f"{RUN.tables}/tables.md"


EMBEDDED = [
    name for name, split in CFG.data.splits.items() if split.layout == "embedded"
]
