"""The hub, played by a server on loopback: commits, completeness, refusals, and a token that is seen nowhere."""

import hashlib
import json
import logging
from urllib.parse import quote

import pytest

from tests.helpers.dataset_server import Handler, running_server, saying
from wildrayzer.datasets.download import DownloadError, Patience
from wildrayzer.datasets.fetch import fetch_source
from wildrayzer.datasets.hub import check_access, fetch_repository, has_token
from wildrayzer.datasets.table import Source, SourceTable
from wildrayzer.io.disk_space import DiskFullError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_thisisnorealtoken"
PATIENCE = Patience(sleep=lambda seconds: None, tries=2)
FILES = {
    "train/full_list.txt": b"metadata/a.json\n",
    "train/metadata/a.json": b'{"frames": []}',
    "README.md": b"read me",
}


def answer(handler: Handler, body: bytes, **headers: object) -> None:
    handler.start(200, Content_Length=len(body), Content_Type="application/json", **headers)
    if handler.command == "GET":
        handler.wfile.write(body)


class Hub:
    """One data set, owner/set, at one commit."""

    def __init__(self, server) -> None:
        self.server = server
        self.set_files(FILES)

    def set_files(self, files: dict[str, bytes], *, stated: dict[str, bytes] | None = None) -> None:
        """Serve `files`; the listing states sizes and checksums of `stated`."""
        api, told = "/api/datasets/owner/set", stated or files
        info = {
            "id": "owner/set",
            "sha": COMMIT,
            "siblings": [],
            "tags": [],
            "private": False,
            "downloads": 0,
            "likes": 0,
        }
        listing = [self.entry(path, body) for path, body in told.items()]
        for revision in ("main", COMMIT):
            self.serve(f"{api}/revision/{revision}", json.dumps(info).encode())
            self.serve(f"{api}/tree/{revision}", json.dumps(listing).encode())
        self.serve(api, json.dumps(info).encode())
        self.serve(f"{api}/auth-check", b"{}")
        for path, body in files.items():
            self.serve(f"/datasets/owner/set/resolve/{COMMIT}/{path}", body, tag=hashlib.sha256(told[path]).hexdigest())

    def set_listing(self, files: dict[str, bytes]) -> None:
        listing = [self.entry(path, body) for path, body in files.items()]
        self.serve(f"/api/datasets/owner/set/tree/{COMMIT}", json.dumps(listing).encode())

    @staticmethod
    def entry(path: str, body: bytes) -> dict:
        lfs = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
        return {"type": "file", "path": path, "size": len(body), "oid": hashlib.sha1(body).hexdigest(), "lfs": lfs}

    def serve(self, path: str, body: bytes, *, tag: str = "x") -> None:
        def behave(handler: Handler, _: bytes) -> None:
            answer(handler, body, X_Repo_Commit=COMMIT, ETag=f'"{tag}"')

        self.server.files[path] = body
        self.server.standing[path] = behave

    def refuse(self, path: str, status: int, code: str) -> None:
        self.server.standing[path] = saying(status, X_Error_Code=code, X_Error_Message=f"refused {TOKEN}")

    def tokens(self) -> set[str | None]:
        """Tokens that came with requests for the set; the library asks the hub for things of its own, too."""
        asked = [headers for _, path, headers in self.server.requests if "owner/set" in path]
        return {headers.get("authorization", headers.get("Authorization")) for headers in asked}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with running_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield Hub(server)


def source(**hub_options) -> Source:
    return Source(
        title="A gated set",
        home="https://example.org/owner/set",
        accept="Log in at https://example.org/owner/set and accept its licence",
        gated=True,
        folder="resources/data/set",
        hub={"repository": "owner/set", "type": "dataset", **hub_options},
        parts={"train": {"layout": "lvsm"}},
    )


def content(folder) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if ".cache" not in path.parts}


def test_a_repository_arrives_whole_and_its_commit_is_told(hub, tmp_path):
    assert fetch_repository(source(), tmp_path / "out", patience=PATIENCE) == COMMIT
    assert content(tmp_path / "out") == FILES
    assert hub.tokens() == {f"Bearer {TOKEN}"}


def test_names_that_look_like_patterns_arrive(hub, tmp_path):
    files = {"a[1].txt": b"one", "b*.txt": b"two", "c?.txt": b"three"}
    hub.set_files({quote(name): body for name, body in files.items()}, stated=None)
    hub.set_listing(files)
    assert fetch_repository(source(), tmp_path / "out", patience=PATIENCE) == COMMIT
    assert content(tmp_path / "out") == files


def test_patterns_and_revisions_are_kept_to(hub, tmp_path):
    pinned = source(revision=COMMIT, patterns=["train/*"])
    assert fetch_repository(pinned, tmp_path / "out", patience=PATIENCE) == COMMIT
    assert set(content(tmp_path / "out")) == {"train/full_list.txt", "train/metadata/a.json"}
    with pytest.raises(DownloadError, match=r"holds none of \('\*\.zip',\)"):
        fetch_repository(source(patterns=["*.zip"]), tmp_path / "out", patience=PATIENCE)
    hub.refuse("/api/datasets/owner/set/revision/gone", 404, "RevisionNotFound")
    with pytest.raises(DownloadError, match="has no revision gone; mend the table of sources"):
        fetch_repository(source(revision="gone"), tmp_path / "out", patience=PATIENCE)


def test_a_source_from_the_hub_ends_in_its_place_with_its_commit(hub, tmp_path):
    fetch_source(SourceTable(sources={"set": source()}), "set", root=tmp_path, patience=PATIENCE)
    place = tmp_path / "resources/data/set/train"
    assert json.loads((place / "source.json").read_text())["version"] == COMMIT
    assert (place / "full_list.txt").read_bytes() == FILES["train/full_list.txt"]
    assert {path.name for path in place.parent.iterdir()} == {".fetching", "train"}


def test_files_that_are_there_are_not_downloaded_again(hub, tmp_path):
    fetch_repository(source(), tmp_path / "out", patience=PATIENCE)
    asked = len(hub.server.requests)
    (tmp_path / "out/train/full_list.txt").write_bytes(b"half")
    fetch_repository(source(), tmp_path / "out", patience=PATIENCE)
    resolved = {path for _, path, _ in hub.server.requests[asked:] if "/resolve/" in path}
    assert resolved == {f"/datasets/owner/set/resolve/{COMMIT}/train/full_list.txt"}
    assert content(tmp_path / "out") == FILES


def test_what_a_killed_download_left_is_checked_as_well(hub, tmp_path):
    fetch_repository(source(), tmp_path / "out", patience=PATIENCE)
    (tmp_path / "out/README.md").write_bytes(b"reed me")  # as long as the right one
    fetch_repository(source(), tmp_path / "out", patience=PATIENCE)
    assert content(tmp_path / "out") == FILES


def test_a_killed_download_goes_on_with_the_commit_it_began_with(hub, tmp_path):
    fetch_repository(source(), tmp_path / "out", patience=PATIENCE)
    (tmp_path / "out/README.md").unlink()
    hub.server.standing["/api/datasets/owner/set"] = saying(500)  # the newest commit is not asked for again
    assert fetch_repository(source(), tmp_path / "out", patience=PATIENCE) == COMMIT
    assert content(tmp_path / "out") == FILES


def test_a_file_other_than_the_hub_states_is_removed_and_named(hub, tmp_path):
    hub.set_files({**FILES, "README.md": b"reed me"}, stated=FILES)
    with pytest.raises(DownloadError, match=r"README\.md has another SHA-256 than the hub states; it was removed"):
        fetch_repository(source(), tmp_path / "out", patience=PATIENCE)
    assert not (tmp_path / "out/README.md").exists()


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_says_what_to_accept_and_where(hub, tmp_path, caplog, status):
    caplog.set_level(logging.DEBUG)
    for path in FILES:
        hub.refuse(f"/datasets/owner/set/resolve/{COMMIT}/{path}", status, "GatedRepo")
    with pytest.raises(DownloadError) as caught:
        fetch_repository(source(), tmp_path / "out", patience=PATIENCE)
    for text in (
        "owner/set",
        "the token has no access",
        "accept its licence",
        "https://example.org/owner/set",
        "HF_TOKEN",
    ):
        assert text in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert all(TOKEN not in record.getMessage() for record in caplog.records if record.name.startswith("wildrayzer"))


def test_without_a_token_that_is_said(hub, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert not has_token()
    for path in FILES:
        hub.refuse(f"/datasets/owner/set/resolve/{COMMIT}/{path}", 401, "GatedRepo")
    with pytest.raises(DownloadError, match="no token was sent"):
        fetch_repository(source(), tmp_path / "out", patience=PATIENCE)


def test_the_token_is_in_no_log_line_of_a_download(hub, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    fetch_source(SourceTable(sources={"set": source()}), "set", root=tmp_path, patience=PATIENCE)
    printed = "".join(capfd.readouterr())
    assert "resources/data/set/train" in caplog.text, "something was logged"
    assert TOKEN not in caplog.text + printed
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN.encode() not in stored


def test_a_hub_that_fails_for_a_moment_is_asked_again(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # the library's own tries
    path = "/api/datasets/owner/set/tree/" + COMMIT
    waits: list[float] = []
    hub.server.plan(path, *[saying(500)])
    fetch_repository(source(), tmp_path / "out", patience=Patience(sleep=waits.append, tries=3))
    assert content(tmp_path / "out") == FILES
    hub.server.standing[path] = saying(500)
    with pytest.raises(DownloadError, match=r"cannot be had from the hub \(answers 500\)"):
        fetch_repository(source(revision=COMMIT), tmp_path / "other", patience=Patience(sleep=waits.append, tries=2))
    assert len(waits) == 1, "two tries have one wait between them"


def test_a_path_that_leaves_the_folder_is_refused(hub, tmp_path):
    hub.set_files({"../evil": b"evil"})
    with pytest.raises(DownloadError, match=r"'\.\./evil' leaves the folder"):
        fetch_repository(source(), tmp_path / "out", patience=PATIENCE)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_too_small_a_disk_is_refused_before_any_file(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 10}))
    with pytest.raises(DiskFullError, match="owner/set needs"):
        fetch_repository(source(), tmp_path / "out", patience=PATIENCE)


def test_access_can_be_asked_for_beforehand(hub):
    assert check_access(source()) is None
    hub.refuse("/api/datasets/owner/set/auth-check", 403, "GatedRepo")
    assert "accept its licence" in str(check_access(source()))
