"""Repositories of the Hugging Face hub. The token comes from HF_TOKEN (or `hf auth login`) and is never written."""

import glob
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from wildrayzer.datasets.download import DownloadError, Patience
from wildrayzer.datasets.table import HubRepository, Source
from wildrayzer.io.disk_space import require_space, writing

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository."""

    path: str
    size: int | None
    sha256: str | None


def has_token() -> bool:
    """Whether a token is there to be sent."""
    from huggingface_hub import get_token

    return bool(get_token())


def fetch_repository(source: Source, folder: str | Path, *, patience: Patience | None = None) -> str:
    """Download a source's repository into a folder; what is there already is kept, partial files are continued.

    Every file's size is checked, and its SHA-256 where the hub states one; of files that an earlier, killed call has
    left as well, and what is wrong of them is fetched again. The commit is noted beside the folder, so that a later
    call goes on with the same one.

    Returns:
        The commit that was downloaded.

    Raises:
        DownloadError: no access, no such repository or revision, no connection, or the disk is too small; says what
            to accept and where.
    """
    from huggingface_hub import snapshot_download

    assert source.hub is not None
    hub, folder, patience = source.hub, Path(folder), patience or Patience()
    folder.mkdir(parents=True, exist_ok=True)
    note = folder.with_name(f"{folder.name}.commit")
    revision = hub.revision or (note.read_text(encoding="utf-8").strip() if note.is_file() else None)
    commit, files = _insist(lambda: _listing(hub, revision), source, patience)
    note.write_text(f"{commit}\n", encoding="utf-8")
    logger.info("%s at %s: %d files", hub.repository, commit, len(files))
    missing = [file for file in files if _wrong(folder, file) is not None]  # a killed call has checked none
    require_space(folder, sum(file.size or 0 for file in missing), purpose=hub.repository)
    for file in missing:  # one of the right name that is wrong would be taken for done
        (folder / file.path).unlink(missing_ok=True)
    names = [glob.escape(file.path) for file in missing]  # `[1]` in a name is no pattern
    options: dict[str, Any] = {
        "repo_type": hub.type,
        "revision": commit,
        "local_dir": folder,
        "endpoint": hub_endpoint(),
    }
    if missing:
        with writing(folder, purpose=hub.repository):
            _insist(lambda: snapshot_download(hub.repository, allow_patterns=names, **options), source, patience)
    for file in missing:
        wrong = _wrong(folder, file)
        if wrong is not None:
            (folder / file.path).unlink(missing_ok=True)
            raise DownloadError(f"{hub.repository}: {file.path} {wrong}; it was removed, start again")
    return commit


def check_access(source: Source) -> str | None:
    """Ask the hub whether the repository's files can be read; None if so, else what is wrong and what to do."""
    from huggingface_hub import HfApi

    assert source.hub is not None
    hub, api = source.hub, HfApi(endpoint=hub_endpoint())
    try:
        _insist(lambda: api.auth_check(hub.repository, repo_type=hub.type), source, Patience(tries=1))
    except DownloadError as error:
        return str(error)
    return None


def hub_endpoint() -> str | None:
    """HF_ENDPOINT, read at each call: the library's own constant is frozen at import. None if it is not set."""
    return os.environ.get("HF_ENDPOINT") or None


def _listing(hub: HubRepository, revision: str | None) -> tuple[str, list[HubFile]]:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(endpoint=hub_endpoint())
    commit = api.repo_info(hub.repository, repo_type=hub.type, revision=revision).sha
    entries = api.list_repo_tree(hub.repository, repo_type=hub.type, revision=commit, recursive=True)
    files = [
        HubFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None)
        for entry in entries
        if isinstance(entry, RepoFile)
    ]
    for file in files:
        if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts:
            raise DownloadError(f"{hub.repository}: {file.path!r} leaves the folder it is downloaded to; do not use it")
    wanted = [file for file in files if hub.patterns is None or any(fnmatch(file.path, p) for p in hub.patterns)]
    if not wanted:
        raise DownloadError(f"{hub.repository} at {commit} holds none of {hub.patterns}; the table of sources is stale")
    return str(commit), wanted


def _insist(action: Callable[[], Result], source: Source, patience: Patience) -> Result:
    """Try again where that may help; say what to accept where it may not."""
    from huggingface_hub import errors

    assert source.hub is not None
    for failures in range(1, patience.tries + 1):
        try:
            return action()
        except (errors.RepositoryNotFoundError, errors.GatedRepoError):
            raise DownloadError(_refused(source)) from None
        except errors.RevisionNotFoundError:
            raise DownloadError(
                f"{source.hub.repository} has no revision {source.hub.revision}; mend the table of sources"
            ) from None
        except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.HTTPError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status in (401, 403):
                raise DownloadError(_refused(source)) from None
            reason = f"answers {status}" if status else type(error).__name__
            if failures == patience.tries or (status and status < 500 and status not in (408, 429)):
                raise DownloadError(
                    f"{source.hub.repository} cannot be had from the hub ({reason}); start again later, what has "
                    "arrived is kept"
                ) from None
            logger.info("%s: %s; trying again", source.hub.repository, reason)
            patience.sleep(min(patience.first_wait * 2 ** (failures - 1), patience.longest_wait))
    raise AssertionError("unreachable")


def _refused(source: Source) -> str:
    assert source.hub is not None
    token = "the token has no access" if has_token() else "no token was sent"
    accept = source.accept or "it may have been removed or renamed"
    return (
        f"the hub refuses {source.hub.repository} ({token}). {accept}. Then set HF_TOKEN in the environment to a token "
        "with read access, and start again"
    )


def _wrong(folder: Path, file: HubFile) -> str | None:
    path = folder / file.path
    if not path.is_file():
        return "is missing"
    if file.size is not None and path.stat().st_size != file.size:
        return f"has {path.stat().st_size} bytes, the hub states {file.size}"
    if file.sha256:
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                return "has another SHA-256 than the hub states"
    return None
