"""`wildrayzer init`: a folder that runs the workflow of the installed package, without a clone of the repository."""

import shutil
from pathlib import Path

from wildrayzer.io.shipped import SHIPPED

_COPIED = (
    "config/*.yaml", "config/schema.json", "profiles/default/config.yaml", "slurm/config.yaml",
    "resources/bundled-*/*", "resources/demo-photos/*",
)  # fmt: skip
"""What a project has of its own and may edit, and what configurations and manuals name."""
_SNAKEFILE = '''"""The workflow of the installed package wildrayzer. Add rules of your own below."""

from wildrayzer.io.shipped import SNAKEFILE


include: str(SNAKEFILE)


# An included file has no default target.
rule default:
    default_target: True
    input:
        rules.all.input,
    localrule: True
'''
_README = """# {name}

A project of [WildRayZer, the pipeline](https://wild-rayzer.cs.virginia.edu/). Call these commands in this folder.

    snakemake --cores 2                                          # the demo on the CPU, about 20 minutes
    wildrayzer run summary config/demo.yaml                      # what it showed
    wildrayzer data check config/paper.yaml                      # data of the full reproduction: what is missing
    snakemake --profile slurm --configfile config/paper.yaml -n  # on a cluster, whose names are in slurm/config.yaml

`config/` and `slurm/` are yours to edit; `resources/` holds models and downloads, `results/` the runs.
"""
_IGNORED = "/.snakemake/\n/resources/*\n!/resources/bundled-*\n!/resources/demo-photos\n/results/\n"


def lay_out_project(folder: Path) -> list[Path]:
    """Write Snakefile, config/, profiles/, resources/, slurm/, README.md and .gitignore into a new or empty folder.

    Returns:
        The files, sorted.

    Raises:
        ValueError: the folder is a file or holds files.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds files; name a new or an empty folder")
    written = {
        "Snakefile": _SNAKEFILE,
        "README.md": _README.format(name=folder.resolve().name),
        ".gitignore": _IGNORED,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    copied = [file.relative_to(SHIPPED) for pattern in _COPIED for file in SHIPPED.glob(pattern)]
    for file in copied:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SHIPPED / file, folder / file)
    return sorted(folder / name for name in (*map(Path, written), *copied))
