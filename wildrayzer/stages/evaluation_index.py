"""The evaluation windows of a set as an index file: what others have to render for their pictures to be scored."""

from pathlib import Path

from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.data.frame_store.store import FrameStore
from wildrayzer.evaluation.methods.methods import windows_of
from wildrayzer.io.files import write_json


def write_index(split: str, *, inputs: int, store_path: str | Path, config: BenchmarkConfig, out: str | Path) -> None:
    """Write `{scene: {"context": [...], "target": [...]} or null}`, frame numbers within the clip; null has no window.

    Args:
        split: name of the set in `benchmark.index`.
        inputs: input views.
        store_path: the split's frames.
        config: the `benchmark` section.
        out: JSON to write; it can be given as `benchmark.index` to freeze the windows.

    Raises:
        ValueError: as `windows_of`.
    """
    store = FrameStore(store_path)
    windows = windows_of(store, split, inputs, config)
    chosen = {store.scenes[w.scene]: {"context": list(w.inputs), "target": list(w.targets)} for w in windows}
    write_json(out, {name: chosen.get(name) for name in store.scenes})
