"""Where the weights of a backbone lie, and the digest of their files."""

from collections.abc import Sequence
from pathlib import Path

from wildrayzer.config.sections.features import FeaturesConfig
from wildrayzer.io.digests import digest_file, digest_json

_FILES = ["*.json", "*.safetensors", "LICENSE*"]
"""What is downloaded of a repository."""


def locate(config: FeaturesConfig, *, wanted: str) -> tuple[Path, str]:
    """Folder or file of the weights, and their revision.

    A repository of the hub is downloaded unless it is in the local cache.

    Args:
        config: the `features` section.
        wanted: what `features.weights` has to name, for errors.

    Raises:
        ValueError: nothing is there, or the hub cannot be reached.
    """
    weights = config.weights
    path = Path(weights).expanduser()
    if path.exists():
        return path, config.revision or "local"
    if config.repository is None or path.is_absolute() or weights.startswith((".", "~")):
        raise ValueError(
            f"features.weights = {weights!r}: no such folder; name {wanted}, or set features.backbone: descriptor"
        )
    return _download(config, config.repository)


def _download(config: FeaturesConfig, repository: str) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = snapshot_download(repository, revision=config.revision, allow_patterns=_FILES)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"features.weights = {config.weights!r} (revision {config.revision or 'default'}) is not a local folder "
            f"and cannot be downloaded from the hub ({type(error).__name__}: {str(error).strip().splitlines()[0]}); "
            "accept its licence and log in, or name a local folder, or set features.backbone: descriptor"
        ) from None
    # The hub's cache names the folder of a snapshot by its commit.
    return Path(snapshot), Path(snapshot).name


def files_digest(files: Sequence[Path]) -> str:
    """Digest of names and contents of files."""
    return digest_json([[path.name, digest_file(path)] for path in files])
