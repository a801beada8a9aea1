"""Checkpoints on the Hugging Face hub: fetched by name and revision, and uploaded with a model card.

A token comes from the argument, HF_TOKEN or `hf auth login`; it is never written, logged or part of a message.
"""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wildrayzer.checkpoint import MANIFEST_NAME, WEIGHTS_NAME, CheckpointManifest, check_weights, read_manifest
from wildrayzer.datasets.hub import has_token, hub_endpoint
from wildrayzer.io.files import read_json

logger = logging.getLogger(__name__)

CONFIG_NAME, CARD_NAME = "config.json", "README.md"
ARCHITECTURE = "WildRayZer"
"""What config.json calls a network of this project."""
_PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OURS = {WEIGHTS_NAME, MANIFEST_NAME, CONFIG_NAME, CARD_NAME}


def fetch_checkpoint(
    repository: str, *, revision: str | None = None, token: str | None = None, local_files_only: bool = False
) -> Path:
    """Folder of a checkpoint of the hub in the hub's own cache; it is downloaded if it is not there.

    Without a connection, or with HF_HUB_OFFLINE=1, the cache is used. A revision that is a full commit and in the cache
    needs no connection.

    Args:
        repository: OWNER/NAME.
        revision: branch, tag or commit; None takes the newest of the main branch.
        token: for private and gated repositories.
        local_files_only: ask nothing of the hub.

    Raises:
        ValueError: no such repository or revision, no access, no connection and nothing in the cache, another
            architecture, or no checkpoint in our format, such as pickles only.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi(endpoint=hub_endpoint(), token=token)
    where: dict[str, Any] = {
        "revision": revision,
        "token": token,
        "endpoint": hub_endpoint(),
        "allow_patterns": sorted(_OURS),
    }
    pinned = revision is not None and _COMMIT.fullmatch(revision) is not None
    offline = local_files_only or huggingface_hub.constants.HF_HUB_OFFLINE
    if pinned and (folder := _cached(repository, where)):
        return _checked(folder, repository)
    with _explained(repository, revision, token):
        names = None if offline else _listed(api, repository, revision)
        if names is not None:
            _check_names(api, repository, revision, names)
            return _checked(Path(huggingface_hub.snapshot_download(repository, **where)), repository)
        folder = _cached(repository, where)
    if folder is None:
        raise ValueError(
            f"{_named(repository, revision)} is not in the hub's cache on this machine, and the hub "
            f"{'was not to be asked' if offline else 'cannot be reached'}; load it once with a connection"
        )
    return _checked(folder, repository)


def _listed(api: Any, repository: str, revision: str | None) -> list[str] | None:
    """Names of the files of a repository; None if the hub cannot be reached."""
    from huggingface_hub import errors

    try:
        return [one.rfilename for one in api.model_info(repository, revision=revision).siblings or []]
    except errors.HTTPError as error:
        if getattr(error, "response", None) is not None:
            raise
        logger.warning("the hub cannot be reached (%s); looking for %s in its cache", type(error).__name__, repository)
        return None


def push_checkpoint(
    folder: str | Path,
    repository: str,
    *,
    licence: str,
    private: bool = True,
    notes: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a checkpoint: weights, manifest, config.json and a model card. The repository is made when it is missing.

    The card (`wildrayzer.api.model_card`) is made from the manifest: data with their licences, deviations from the
    paper, and, for a checkpoint in the folder of a run with tables, its figures beside those of the controls.

    Args:
        folder: the checkpoint.
        repository: OWNER/NAME.
        licence: of the weights, as the hub names licences: `apache-2.0`, `cc-by-nc-sa-4.0`, …. Imported checkpoints
            keep theirs, and the data may limit the choice.
        private: whether a new repository is private; an existing one stays as it is.
        notes: text for the card.
        token: with write access.

    Returns:
        The commit: a revision to pin.

    Raises:
        ValueError: a damaged checkpoint, no access, or a repository that holds something else.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    from wildrayzer.api.model_card import model_card

    weights, manifest = check_weights(folder), read_manifest(folder)
    api = HfApi(endpoint=hub_endpoint(), token=token)
    contents: dict[str, bytes | Path] = {
        WEIGHTS_NAME: weights,
        MANIFEST_NAME: Path(folder) / MANIFEST_NAME,
        CONFIG_NAME: (json.dumps(hub_config(manifest), indent=2) + "\n").encode(),
        CARD_NAME: model_card(Path(folder), manifest, repository=repository, licence=licence, notes=notes).encode(),
    }
    with _explained(repository, None, token):
        api.create_repo(repository, private=private, exist_ok=True)
        there = {one.rfilename for one in api.model_info(repository).siblings or []} - {".gitattributes", CARD_NAME}
        if there and MANIFEST_NAME not in there:
            raise ValueError(f"{repository} holds other files ({', '.join(sorted(there)[:3])}); name a new repository")
        added = [CommitOperationAdd(name, content) for name, content in contents.items()]
        message = f"{manifest.stage}, step {manifest.step}, weights {manifest.weights_digest}"
        commit = api.create_commit(repository, added, commit_message=message)
    return str(commit.oid)


def hub_config(manifest: CheckpointManifest) -> dict[str, Any]:
    """`config.json` as the hub's tools read it: what kind of network this is, and its sizes."""
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "wildrayzer",
        "library_name": "wildrayzer",
        "format_version": manifest.format_version,
        "stage": manifest.stage,
        "inputs": list(manifest.inputs),
        "model": manifest.model.model_dump(mode="json"),
    }


def _cached(repository: str, where: dict[str, Any]) -> Path | None:
    """A complete checkpoint in the cache; None if there is none."""
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(snapshot_download(repository, **where, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        return None
    return folder if all((folder / name).is_file() for name in (WEIGHTS_NAME, MANIFEST_NAME)) else None


def _checked(folder: Path, repository: str) -> Path:
    """The folder, unless its config.json names another architecture."""
    file = folder / CONFIG_NAME
    if file.is_file():
        _check_architecture(repository, read_json(file, fix="upload the checkpoint again"))
    return folder


def _check_names(api: Any, repository: str, revision: str | None, names: list[str]) -> None:
    """Refuse a repository that holds no checkpoint of ours, before its weights are downloaded."""
    if {WEIGHTS_NAME, MANIFEST_NAME} <= set(names):
        return
    if CONFIG_NAME in names:
        file = api.hf_hub_download(repository, CONFIG_NAME, revision=revision)
        _check_architecture(repository, read_json(Path(file), fix="ask its owner to upload it again"))
    pickles = sorted(name for name in names if Path(name).suffix.lower() in _PICKLES)
    if pickles and not any(name.endswith(".safetensors") for name in names):
        raise ValueError(
            f"{repository} holds its weights only as pickles ({', '.join(pickles[:3])}), which can run code when they "
            "are read. If one is a public checkpoint of this method, download it and import it: `wildrayzer released "
            "import FILE --out FOLDER` runs no code in it and writes safetensors; then load FOLDER"
        )
    missing = sorted({WEIGHTS_NAME, MANIFEST_NAME} - set(names))
    raise ValueError(
        f"{repository} holds no checkpoint in the format of this project: {' and '.join(missing)} missing; a "
        "checkpoint of another release is downloaded and imported first (`wildrayzer released import`)"
    )


def _check_architecture(repository: str, config: Any) -> None:
    named = config.get("architectures") if isinstance(config, dict) else None
    if named and named != [ARCHITECTURE]:
        raise ValueError(
            f"{repository} holds the architecture {', '.join(map(str, named))}, not {ARCHITECTURE}; name a checkpoint "
            "of this project"
        )


def _named(repository: str, revision: str | None) -> str:
    return f"{repository} at {revision}" if revision else repository


@contextmanager
def _explained(repository: str, revision: str | None, token: str | None) -> Iterator[None]:
    """Turn the hub's errors into messages that say what to do; they name no token."""
    from huggingface_hub import errors

    sent = token is not None or has_token()
    access = "the token may have no access to it" if sent else "no token was sent: set HF_TOKEN if it is private"
    try:
        yield
    except errors.RevisionNotFoundError:
        raise ValueError(
            f"{repository} has no revision {revision!r}; name one of its branches, tags or full commits"
        ) from None
    except errors.GatedRepoError:
        raise ValueError(f"{repository} is gated; accept its terms on the hub, then set HF_TOKEN ({access})") from None
    except errors.RepositoryNotFoundError:
        raise ValueError(f"the hub shows no {repository}, and there is no folder of this name; {access}") from None
    except errors.HFValidationError:
        raise ValueError(f"{repository} is no name of a repository; write OWNER/NAME") from None
    except errors.LocalEntryNotFoundError:
        raise ValueError(f"{_named(repository, revision)} could not be downloaded; try again") from None
    except errors.HTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise ValueError(f"the hub refuses {repository}; {access}, or no right to write") from None
        reason = f"answers {status}" if status else type(error).__name__
        raise ValueError(f"{repository}: the hub fails ({reason}); try again later") from None
