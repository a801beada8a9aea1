"""The notebook of examples/: its cells run, and its stored outputs are of the cells as they stand."""

import json
from pathlib import Path

from tests.helpers.notebook import execute

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def kinds(notebook):
    """What every code cell gives: text, without the digits of numbers, and the number of figures."""
    cells = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [
        (
            "".join("".join(out["text"]) for out in outputs if "text" in out).split(":")[0],
            sum("image/png" in out.get("data", {}) for out in outputs),
        )
        for outputs in cells
    ]


def test_the_notebook_runs_and_its_outputs_are_stored():
    stored = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert kinds(execute(stored, NOTEBOOK.parent)) == kinds(stored)
    assert [figures for _, figures in kinds(stored)] == [0, 0, 1, 1, 0]
