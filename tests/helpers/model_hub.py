"""A hub of models on loopback, in the shape of the real one's API: repositories, commits, uploads, refusals."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_thisisnorealtoken"


@dataclass
class Repository:
    """Its commits, oldest first, each with all files at that commit."""

    private: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, changed: dict[str, bytes]) -> str:
        files = {**(self.commits[-1][1] if self.commits else {}), **changed}
        name = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits.append((name, files))
        return name

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        wanted = self.tags.get(revision, revision)
        return next((one for one in self.commits if one[0] == wanted), None)


class ModelHub(ThreadingHTTPServer):
    """Repositories by name, every request, and blobs that were uploaded for a commit."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False) -> str:
        """A repository with one commit; its name."""
        self.repositories[name] = Repository(private)
        return self.repositories[name].commit(files)


@contextmanager
def running_hub() -> Iterator[ModelHub]:
    hub = ModelHub()
    threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: ModelHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.requests.append((self.command, self.path))
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            self._info(match[1], match[2], match[3] or "main")
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(match[1], match[2], match[3])
        else:
            self._send(404, b"")

    def do_POST(self) -> None:
        self.server.requests.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self.path)
        if not self._authorised():
            self._refuse(401, None, "Invalid username or password.")
        elif self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif match and match[2] == "preupload":
            self._modes(json.loads(body))
        elif match:
            self._commit(match[1], body)
        else:
            self._send(404, b"")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.blobs[hashlib.sha256(body).hexdigest()] = body
        self._send(200, b"")

    def log_message(self, *arguments: object) -> None:
        """Nothing on the terminal."""

    def _authorised(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _found(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit that is asked for; refuses as the real hub does, which hides private repositories."""
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not self._authorised()):
            self._refuse(404 if self._authorised() else 401, "RepoNotFound", "Repository not found")
            return None
        found = repository.at(revision)
        if found is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    def _info(self, name: str, kind: str | None, revision: str) -> None:
        if (found := self._found(name, revision)) is None:
            return
        commit, files = found
        entries = [
            {
                "type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest(),
                "lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130},
            }
            for path, content in files.items()
        ]  # fmt: skip
        info = {
            "id": name, "sha": commit, "private": self.server.repositories[name].private, "tags": [], "downloads": 0,
            "likes": 0, "siblings": [{"rfilename": path} for path in files],
        }  # fmt: skip
        self._json(entries if kind == "tree" else info)

    def _file(self, name: str, revision: str, path: str) -> None:
        if (found := self._found(name, revision)) is None:
            return
        commit, files = found
        if path not in files:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        tag = f'"{hashlib.sha256(files[path]).hexdigest()}"'
        self._send(200, files[path], ETag=tag, X_Repo_Commit=commit, X_Linked_Size=len(files[path]), X_Linked_Etag=tag)

    def _create(self, asked: dict) -> None:
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        known = name in self.server.repositories
        if not known:
            self.server.add(name, {".gitattributes": b""}, private=asked.get("visibility") == "private")
        self._json({"url": f"{self.server.address}/{name}"}, status=409 if known else 200)

    def _modes(self, asked: dict) -> None:
        large = (".safetensors",)
        self._json({
            "files": [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(large) else "regular",
                 "shouldIgnore": False}
                for one in asked["files"]
            ]
        })  # fmt: skip

    def _batch(self, asked: dict) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.server.address}/blob/{one['oid']}", "header": {}}}}
            for one in asked["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, body: bytes) -> None:
        changed = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                changed[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                changed[value["path"]] = self.server.blobs[value["oid"]]
        commit = self.server.repositories[name].commit(changed)
        self._json({"success": True, "commitUrl": f"{self.server.address}/{name}/commit/{commit}", "commitOid": commit})

    def _json(self, value: object, *, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), Content_Type="application/json")

    def _refuse(self, status: int, code: str | None, message: str) -> None:
        self._send(status, b"", X_Error_Message=f"{message} {TOKEN}", **({"X_Error_Code": code} if code else {}))

    def _send(self, status: int, body: bytes, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
