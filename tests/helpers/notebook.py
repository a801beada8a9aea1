"""Notebooks without Jupyter: run the cells, with what they print and plot as outputs.

`python -m tests.helpers.notebook FILE` stores the outputs in the file.
"""

import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def execute(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The notebook with new outputs; its code runs in `folder`, with the notebook's own names.

    Figures that `plt.show()` shows are stored as PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names: dict[str, Any] = {"__name__": "__main__"}
    plt.close("all")
    done, count = json.loads(json.dumps(notebook)), 0
    with contextlib.chdir(folder):
        for cell in done["cells"]:
            if cell["cell_type"] != "code":
                continue
            count += 1
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec("".join(cell["source"]), names)
            text = printed.getvalue()
            cell["execution_count"] = count
            stream = {"name": "stdout", "output_type": "stream", "text": text.splitlines(True)}
            cell["outputs"] = [stream] if text else []
            for number in plt.get_fignums():
                picture = io.BytesIO()
                plt.figure(number).savefig(picture, format="png", dpi=72, bbox_inches="tight")
                data = {"image/png": base64.b64encode(picture.getvalue()).decode()}
                cell["outputs"].append({"data": data, "metadata": {}, "output_type": "display_data"})
            plt.close("all")
    return done


if __name__ == "__main__":
    file = Path(sys.argv[1])
    made = execute(json.loads(file.read_text(encoding="utf-8")), file.parent)
    file.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
