"""Recorded figures of the tiny run: what its tables say, and on which machine.

`python -m tests.helpers.figures FOLDER` records those of a tiny run in FOLDER. Whoever does says in CHANGELOG.md why
they moved.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

import pandas as pd
import torch

RECORDED = Path(__file__).parents[1] / "resources" / "tiny_figures.json"
KEYS = ["split", "inputs", "method", "region", "metric"]


def machine() -> str:
    """What decides how sums are rounded: name, model and instructions of the processor, and the version of torch."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    lines = re.findall(r"^(?:model name|cpu family|model|flags)\s*:.*$", text.split("\n\n")[0], re.MULTILINE)
    found = "\n".join([*lines, torch.__version__, torch.backends.cpu.get_cpu_capability()])
    return hashlib.sha256(found.encode()).hexdigest()


def figures(folder: Path) -> dict[str, list[float]]:
    """Mean, scenes and frames of each row of the tables, by split, inputs, method, region and metric."""
    table = pd.read_csv(folder / "results" / "tiny" / "tables" / "summary.csv", keep_default_na=False, dtype=str)
    rows = table[[*KEYS, "mean", "scenes", "frames"]].itertuples(index=False)
    return {" ".join(row[:5]): [float(value) for value in row[5:]] for row in rows}


def recorded() -> tuple[bool, dict[str, list[float]]]:
    """Whether the figures were recorded on a machine like this one, and the figures."""
    content = json.loads(RECORDED.read_text(encoding="utf-8"))
    return content["machine"] == machine(), content["figures"]


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in sorted(figures(Path(sys.argv[1])).items())]
    body = ",\n".join(lines)
    RECORDED.write_text(f'{{"machine": "{machine()}", "figures": {{\n{body}\n}}}}\n', encoding="utf-8")
