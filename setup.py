"""What pyproject.toml cannot say: the files that ship beside the code go into the wheel, as `wildrayzer/shipped`."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "Snakefile",
    "config/*.yaml",
    "config/schema.json",
    "environment.yml",
    "profiles/default/config.yaml",
    "resources/bundled-model/*",
    "resources/demo-photos/*",
    "resources/bundled-renderer/*",
    "resources/sources.yaml",
    "slurm/config.yaml",
    "workflow/*.smk",
    "workflow/*/*.py",
    "workflow/*/*.rst",
    "workflow/*/*.smk",
)
"""Patterns of these files; `wildrayzer.io.shipped` finds them in the wheel and in a clone."""


class BuildWithShipped(build_py):
    """Copies the files into the wheel; an editable installation finds them in the clone."""

    def run(self):
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        for pattern in SHIPPED:
            files = sorted(Path().glob(pattern))
            if not files:
                raise FileNotFoundError(f"{pattern}: no such file to ship; build from the whole repository")
            for file in files:
                target = Path(self.build_lib, "wildrayzer", "shipped", file)
                self.mkpath(str(target.parent))
                self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithShipped})
