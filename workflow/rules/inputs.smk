"""What jobs take in, worked out from their wildcards."""

import functools

from wildrayzer.evaluation.recipes import folder_of
from wildrayzer.provenance import digest_file, digest_folder


def expected_counts(split):
    """Published numbers of scenes and frames of a split, where the table of sources has them."""
    name = CFG.data.splits[split].source
    if name is None:
        return {"scenes": None, "frames": None}
    source, _, part = name.partition("/")
    known = TABLE.sources[source].parts[part]
    return {"scenes": known.scenes, "frames": known.frames}


def preparation_processes(wildcards):
    """Outside sets are large and are read by several processes; embedded ones are small, and several jobs run at once."""
    split = CFG.data.splits[wildcards.split]
    return 1 if split.layout == "embedded" else CFG.compute.threads


def checkpoint_of(row):
    """Checkpoint that a row of the tables renders with; none for those without a network. Scores are of the last round."""
    stage = recipe_of(row, CFG.benchmark).stage
    if stage is None:
        return []
    if stage == "external":
        return CFG.benchmark.checkpoints[row].path
    return (
        renderer_of(CFG.rounds)
        if stage == "pretrain"
        else RUN.checkpoint(stage, CFG.rounds)
    )


def outside_of(wildcards):
    """Masks or renderings from outside the run that a row reads; their folder must be there before the first job."""
    recipe = recipe_of(wildcards.method, CFG.benchmark)
    if recipe.source is None or recipe.stage == "external":
        return []
    return folder_of(
        wildcards.method, CFG.benchmark, wildcards.split, int(wildcards.inputs)
    )


@functools.cache
def files_below(folder):
    """Digest of what lies in a folder from outside the run. As a param it reruns the job when files are replaced, which
    leaves the folder's own time of change as it was. Folders that a workflow made bear a time stamp for that.
    """
    made_here = Path(folder, ".snakemake_timestamp").exists()
    return None if made_here or not Path(folder).is_dir() else digest_folder(folder)


def files_of_row(wildcards):
    """State of the masks, renderings or checkpoint from outside that a row reads; None for rows of the run's own."""
    if recipe_of(wildcards.method, CFG.benchmark).source is None:
        return None
    return files_below(outside_of(wildcards) or checkpoint_of(wildcards.method))


def files_of_masks(wildcards):
    """The same for the masks of a row `head:NAME` or `file:NAME`."""
    if wildcards.name in CFG.benchmark.checkpoints:
        return files_below(CFG.benchmark.checkpoints[wildcards.name].path)
    folder = mask_folder_of(wildcards.name, wildcards.split)
    return files_below(folder) if folder else None


def index_of(wildcards):
    """Frozen index file of a set with this number of inputs, if it has one."""
    index = CFG.benchmark.set_of(wildcards.split).index
    return [] if index is None else index.replace("{inputs}", wildcards.inputs)


def head_of(name):
    """Checkpoint whose motion head the masks `name` come from, if any."""
    if name in ("distill", "joint"):
        return RUN.checkpoint(name, CFG.rounds)
    return (
        CFG.benchmark.checkpoints[name].path
        if name in CFG.benchmark.checkpoints
        else []
    )


def mask_folder_of(name, split):
    """Folder of masks from files, if that is what they are."""
    return (
        CFG.benchmark.masks[name].folders[split] if name in CFG.benchmark.masks else []
    )


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
