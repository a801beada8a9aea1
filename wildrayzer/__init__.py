"""WildRayZer: novel view synthesis of dynamic scenes, learned without labels."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("wildrayzer")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0.1.0"
