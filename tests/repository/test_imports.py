"""What a job imports is part of what it costs: short jobs leave out what they do not use."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NO_TORCH = ("torch", "torchvision", "transformers")


def imported(code: str, names: tuple[str, ...]) -> str:
    """Those of `names` that are loaded after `code`."""
    code += f"\nimport sys; print(*[name for name in {names!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_stages_without_a_network_need_no_torch():
    stages = ("patch_masks", "prepare", "refine", "score_masks")
    assert imported("\n".join(f"import wildrayzer.stages.{stage}" for stage in stages), NO_TORCH) == ""


def test_tables_need_neither_torch_nor_stores():
    code = "import wildrayzer.stages.write_tables, wildrayzer.evaluation.tables.text"
    assert imported(code, (*NO_TORCH, "zarr")) == ""


def test_features_are_imported_without_transformers():
    assert (
        imported(
            "import wildrayzer.pseudo_masks.backbones.interface, wildrayzer.pseudo_masks.residual_maps",
            ("torch", "transformers"),
        )
        == "torch"
    )


def test_a_checkpoint_is_read_without_torchs_compiler():
    code = "from wildrayzer.checkpoint import load_checkpoint; load_checkpoint('resources/bundled-renderer')"
    assert imported(code, ("torch", "torch._dynamo")) == "torch"


def test_a_checkpoint_is_rendered_without_torchs_compiler():
    code = "import wildrayzer as wr; wr.load().scene('resources/demo-photos').render()"
    assert imported(code, ("torch", "torch._dynamo", "transformers", "pandas", "huggingface_hub")) == "torch"
