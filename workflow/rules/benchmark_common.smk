"""Helpers of the rules that score: which checkpoints, files and masks a job reads."""

from wildrayzer.run.row_specs import folder_of


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
        wildcards.method, CFG.benchmark, wildcards.evaluation_set, int(wildcards.inputs)
    )


def outside_of(wildcards):
    """Masks or renderings from outside the run that a row reads; their folder must be there before the first job."""
    spec = row_spec(wildcards.method, CFG.benchmark)
    if spec.entry is None or spec.stage == "external":
        return []
    return input_of(folder_of_row(wildcards))


def files_of_row(wildcards):
    """State of the masks, renderings or checkpoint from outside that a row reads; None for rows of the run's own."""
    folder = folder_of_row(wildcards)
    return None if folder is None else files_below(folder)


def index_of(wildcards):
    """Frozen index file of a set with this number of inputs, if it has one."""
    return frozen_index(wildcards.evaluation_set, int(wildcards.inputs))


def frozen_index(name, inputs):
    """Frozen index file of a set with this number of inputs, if it has one."""
    index = CFG.benchmark.set_of(name).index_file(inputs)
    return [] if index is None else input_of(index)


def inputs_of_masks(name, split):
    """Number of input views that masks of input views are scored with: the first of the set's."""
    return CFG.benchmark.inputs_of(split, name)[0]


def scoring_threads():
    """CPU threads of a job that renders and scores. Without training there are few such jobs, of large networks."""
    return 1 if CFG.trains else CFG.compute.threads


def scoring_memory():
    """Memory of such a job in MB; without training it may hold a large backbone in float32."""
    if not CFG.trains and CFG.features.has_weights:
        return 40_000
    return 16_000 if CFG.compute.gpus else 2_000


def twin_store_of(name):
    """Frames of the clips that share the camera paths of a set's split, if it has such a twin."""
    twin = CFG.data.twin_of(CFG.benchmark.set_of(name).split)
    return [] if twin is None else RUN.store(twin)


def head_of(name):
    """Checkpoint whose motion head predicts the masks; none for other methods."""
    if name in ("distill", "joint"):
        return RUN.checkpoint(name, CFG.rounds)
    if name in CFG.benchmark.checkpoints:
        return input_of(CFG.benchmark.checkpoints[name].path)
    if name == "leave_one_out":
        return renderer_of(CFG.rounds)
    return []


def leave_one_out_inputs(name):
    """Calibration clips of the masks without a head."""
    if name != "leave_one_out":
        return []
    return [RUN.store(split) for split in CFG.data.of(purpose="calibration")]


def leave_one_out_options(wildcards):
    """Options of the masks without a head; none for other methods."""
    if wildcards.mask_method != "leave_one_out":
        return None
    return {
        "residuals": deciding_options(CFG.residuals),
        "pseudo_masks": deciding_options(CFG.pseudo_masks),
    }


def mask_folder_of(name, split):
    """Folder of masks from files; none for other methods."""
    if name in CFG.benchmark.masks:
        return input_of(CFG.benchmark.masks[name].folders[split])
    return []


def files_of_masks(wildcards):
    """The same for the masks of a row `head:NAME` or `file:NAME`."""
    if wildcards.mask_method in CFG.benchmark.checkpoints:
        return files_below(CFG.benchmark.checkpoints[wildcards.mask_method].path)
    if wildcards.mask_method in CFG.benchmark.masks:
        return files_below(
            CFG.benchmark.masks[wildcards.mask_method].folders[wildcards.split]
        )
    return None


def refined_masks(wildcards):
    """Pixel masks of the renderer. Controls, and ablations that end before refinement, are scored on patch masks only."""
    if wildcards.predictor != "renderer" or not RUN.makes("refine"):
        return []
    return RUN.pixel_masks(CFG.rounds, wildcards.split, wildcards.predictor)
