"""Helpers of the rules that fetch sources, make the embedded data set, and prepare frames.

They stand in a file of their own because `snakemake --lint` refuses functions beside rules.
"""

from wildrayzer.config.variants import ablations_of
from wildrayzer.datasets.required import parts_read
from wildrayzer.run.missing_data import splits_without_data

EMBEDDED = [
    name for name, split in CFG.data.splits.items() if split.layout == "embedded"
]


def parts_without_link():
    """Parts of sources that the run or an ablation reads and to which the run has no link, or a broken one. Keys are the
    source and whether the parts are in their places."""
    read = [CFG, *(ablation_scores(CFG, name).config for name in ablations_of(CFG))]
    found = {}
    for source, part in dict.fromkeys(
        at for one in read for at in parts_read(one, TABLE)
    ):
        link = Path(RUN.source(source, part))
        if link.exists():
            continue
        if link.is_symlink() and workflow.is_main_process:
            link.unlink()  # Snakemake takes a broken link for an existing file
        there = Path(TABLE.sources[source].place(part)).exists()
        found.setdefault((source, there), []).append(part)
    return found


def source_message(name, there):
    """What a source's job does."""
    source = TABLE.sources[name]
    if there:
        return f"{source.title} is in its place"
    return f"{'Asking you for' if source.provide else 'Fetching'} {source.title}"


def embedded_options(split):
    """What an embedded split depends on: the generator's options, its own, and those of the splits it repeats."""
    embedded = CFG.data.embedded
    own = embedded.splits[split]
    names = filter(None, [split, own.reuse_seed_of, own.reuse_cameras_of])
    options = deciding_options(
        embedded.model_copy(
            update={"splits": {name: embedded.splits[name] for name in names}}
        )
    )
    return {
        name: value
        for name, value in options.items()
        if name not in ("cutouts", "cutout_family")
    }


def raw_of(split):
    """A split in its outside layout."""
    path = CFG.data.splits[split].path
    return RUN.raw(split) if path is None else input_of(path)


def preparation_options(split):
    """Params of a preparation."""
    return {
        "split": deciding_options(CFG.data.splits[split]),
        "store": deciding_options(CFG.data.store),
        "image_size": CFG.model.image_size,
        "version": STAGE_VERSIONS["frames"],
    }


def check_data():
    """Warn of splits whose data are gone and whose frames are used as they are; refuse those that need their data.
    Parts of sources are fetched again where they are needed."""
    options = {
        name: preparation_options(name)
        for name, split in CFG.data.splits.items()
        if split.path is not None and TABLE.at(split.path) is None
    }
    warnings, faults = splits_without_data(CFG, RUN, options)
    if faults:
        raise WorkflowError("\n".join(faults))
    for line in warnings:
        logger.warning(line)


def preparation_processes(wildcards):
    """Outside sets are large and are read by several processes; embedded ones are small, and several jobs run at once."""
    split = CFG.data.splits[wildcards.split]
    return 1 if split.layout == "embedded" else CFG.compute.threads


if workflow.is_main_process:
    check_data()
