"""Files that ship with the package beside its code: workflow, configurations, table of sources, models."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_IN_WHEEL = _PACKAGE / "shipped"

SHIPPED = _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent
"""Their folder: `wildrayzer/shipped` of an installed wheel, else the root of the repository. Both have the same layout:
Snakefile, workflow/, config/, resources/, profiles/, slurm/."""
SNAKEFILE = SHIPPED / "Snakefile"
"""The workflow."""
SOURCES = SHIPPED / "resources" / "sources.yaml"
"""The table of sources of data and weights."""
BUNDLED_MODEL = SHIPPED / "resources" / "bundled-model"
"""Last checkpoint of `config/showcase.yaml`, trained on the embedded data set: renderer and motion head."""
BUNDLED_RENDERER = SHIPPED / "resources" / "bundled-renderer"
"""Its static renderer, trained on clips in which nothing moves."""
BUNDLED_PHOTOS = SHIPPED / "resources" / "demo-photos"
"""Five pictures of a room in which two objects move, rendered by this project."""
