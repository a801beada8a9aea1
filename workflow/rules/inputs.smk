"""What jobs take in, worked out from their wildcards."""

import functools

from wildrayzer.config.variants import ablations_of
from wildrayzer.run.row_specs import folder_of
from wildrayzer.io.digests import digest_file, digest_folder
from wildrayzer.datasets.required import parts_read


def input_of(path):
    """What a job that reads a path of the configuration waits for: where it is the place of a part of a source, the
    run's link to it, which a job makes; else the path itself."""
    at = TABLE.at(path)
    return path if at is None else RUN.source(*at)


def parts_without_link():
    """Parts of sources that the run or an ablation reads and has no link to, or a broken one: by source, and by whether
    they are in their places."""
    read = [CFG, *(ablation_scores(CFG, name).config for name in ablations_of(CFG))]
    found = {}
    for source, part in dict.fromkeys(
        at for one in read for at in parts_read(one, TABLE)
    ):
        link = Path(RUN.source(source, part))
        if link.exists():
            continue
        if link.is_symlink() and workflow.is_main_process:
            link.unlink()  # Snakemake takes a broken link for a file that is there
        there = Path(TABLE.sources[source].place(part)).exists()
        found.setdefault((source, there), []).append(part)
    return found


def source_message(name, there):
    """What a source's job does."""
    source = TABLE.sources[name]
    if there:
        return f"{source.title} is in its place"
    return f"{'Asking you for' if source.provide else 'Fetching'} {source.title}"


def raw_of(split):
    """A split in its outside layout."""
    path = CFG.data.splits[split].path
    return RUN.raw(split) if path is None else input_of(path)


def preparation_processes(wildcards):
    """Outside sets are large and are read by several processes; embedded ones are small, and several jobs run at once."""
    split = CFG.data.splits[wildcards.split]
    return 1 if split.layout == "embedded" else CFG.compute.threads


def checkpoint_of(row):
    """Checkpoint that a row of the tables renders with; none for those without a network. Scores are of the last round."""
    stage = row_spec(row, CFG.benchmark).stage
    if stage is None:
        return []
    if stage == "external":
        return input_of(CFG.benchmark.checkpoints[row].path)
    return (
        renderer_of(CFG.rounds)
        if stage == "pretrain"
        else RUN.checkpoint(stage, CFG.rounds)
    )


def folder_of_row(wildcards):
    """Folder of masks, renderings or a checkpoint from outside that a row reads; None for rows of the run's own."""
    return folder_of(
        wildcards.method, CFG.benchmark, wildcards.split, int(wildcards.inputs)
    )


def outside_of(wildcards):
    """Masks or renderings from outside the run that a row reads; their folder must be there before the first job."""
    spec = row_spec(wildcards.method, CFG.benchmark)
    if spec.entry is None or spec.stage == "external":
        return []
    return input_of(folder_of_row(wildcards))


@functools.cache
def files_below(folder):
    """Digest of what lies in a folder from outside the run. As a param it reruns the job when files are replaced, which
    leaves the folder's own time of change as it was. Folders that a workflow made bear a time stamp for that, and parts
    of sources are not replaced file by file.
    """
    made = Path(folder, ".snakemake_timestamp").exists() or TABLE.at(folder)
    return None if made or not Path(folder).is_dir() else digest_folder(folder)


def files_of_row(wildcards):
    """State of the masks, renderings or checkpoint from outside that a row reads; None for rows of the run's own."""
    folder = folder_of_row(wildcards)
    return None if folder is None else files_below(folder)


def files_of_masks(wildcards):
    """The same for the masks of a row `head:NAME` or `file:NAME`."""
    if wildcards.name in CFG.benchmark.checkpoints:
        return files_below(CFG.benchmark.checkpoints[wildcards.name].path)
    if wildcards.name in CFG.benchmark.masks:
        return files_below(CFG.benchmark.masks[wildcards.name].folders[wildcards.split])
    return None


def index_of(wildcards):
    """Frozen index file of a set with this number of inputs, if it has one."""
    index = CFG.benchmark.set_of(wildcards.split).index
    if index is None:
        return []
    return input_of(index.replace("{inputs}", wildcards.inputs))


def head_of(name):
    """Checkpoint whose motion head the masks `name` come from, if any."""
    if name in ("distill", "joint"):
        return RUN.checkpoint(name, CFG.rounds)
    if name in CFG.benchmark.checkpoints:
        return input_of(CFG.benchmark.checkpoints[name].path)
    return []


def mask_folder_of(name, split):
    """Folder of masks from files, if that is what they are."""
    if name in CFG.benchmark.masks:
        return input_of(CFG.benchmark.masks[name].folders[split])
    return []


def refined_masks(wildcards):
    """Pixel masks of the renderer; controls are compared before refinement, as an ablation is that ends there."""
    if wildcards.source != "renderer" or not RUN.makes("refine"):
        return []
    return RUN.pixel_masks(CFG.rounds, wildcards.split, wildcards.source)


def ablations_made():
    """Digests of the tables that ablations have of their own: new ones rewrite the report, and it asks for none."""
    return {
        name: digest_file(path)
        for name, path in ABLATION_TABLES.items()
        if Path(path).is_file()
    }
