"""A server on loopback that does what servers do: breaks off, stalls, redirects, lies, ignores ranges, refuses."""

import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Answers from the server's `files`, or as the next behaviour in the path's `script` says."""

    server: "FileServer"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        script = self.server.script[path]
        behaviour = script.popleft() if script else self.server.standing.get(path, whole)
        with suppress(BrokenPipeError, ConnectionResetError):
            behaviour(self, self.server.files.get(path, b""))

    def start(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing on the terminal."""


class FileServer(ThreadingHTTPServer):
    """Files by path, and for each path what to do at its next requests; afterwards files are sent whole."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.script: defaultdict[str, deque[Behaviour]] = defaultdict(deque)
        self.standing: dict[str, Behaviour] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.released = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def plan(self, path: str, *behaviours: Behaviour) -> None:
        self.script[path].extend(behaviours)

    def ranges(self, path: str) -> list[str | None]:
        """Range header of every request for a path."""
        return [headers.get("Range") for _, asked, headers in self.requests if asked == path]


@contextmanager
def running_server() -> Iterator[FileServer]:
    server = FileServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()


def _answer(handler: Handler, body: bytes, *, ranges: bool = True, tag: str = '"v1"') -> bytes:
    """Send the head of an honest answer; returns the bytes that follow it."""
    if not body and handler.path not in handler.server.files:
        handler.start(404, Content_Length=0)
        return b""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    current = handler.headers.get("If-Range") in (None, tag)
    if not (ranges and asked and current):
        handler.start(200, Content_Length=len(body), ETag=tag)
        return body
    first = int(asked[1])
    if first >= len(body):
        handler.start(416, Content_Range=f"bytes */{len(body)}", Content_Length=0)
        return b""
    span = f"bytes {first}-{len(body) - 1}/{len(body)}"
    handler.start(206, Content_Length=len(body) - first, Content_Range=span, ETag=tag)
    return body[first:]


def whole(handler: Handler, body: bytes) -> None:
    handler.wfile.write(_answer(handler, body) if handler.command == "GET" else b"")


def ignoring_ranges(handler: Handler, body: bytes) -> None:
    handler.wfile.write(_answer(handler, body, ranges=False))


def breaking_off(after: int, *, ranges: bool = True) -> Behaviour:
    """Promise all that is left, send `after` bytes of it and close."""

    def behave(handler: Handler, body: bytes) -> None:
        handler.wfile.write(_answer(handler, body, ranges=ranges)[:after])

    return behave


def stalling(after: int) -> Behaviour:
    """Send `after` bytes, then nothing, with the connection open."""

    def behave(handler: Handler, body: bytes) -> None:
        handler.wfile.write(_answer(handler, body)[:after])
        handler.wfile.flush()
        handler.server.released.wait()

    return behave


def claiming(length: int) -> Behaviour:
    """Claim another length than the file has."""

    def behave(handler: Handler, body: bytes) -> None:
        handler.start(200, Content_Length=length)
        handler.wfile.write(body[:length])

    return behave


def sending(
    body: bytes, *, tag: str = '"other"', kind: str = "application/octet-stream", encoding: str = "identity"
) -> Behaviour:
    """Send something else."""

    def behave(handler: Handler, _: bytes) -> None:
        handler.start(200, Content_Length=len(body), ETag=tag, Content_Type=kind, Content_Encoding=encoding)
        handler.wfile.write(body)

    return behave


def chunked(body: bytes, *, end: bool = True) -> Behaviour:
    """Send in chunks, without a length; without `end` the last chunk never comes."""

    def behave(handler: Handler, _: bytes) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.close_connection = True
        handler.start(200, Transfer_Encoding="chunked", Connection="close")
        handler.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n" + (b"0\r\n\r\n" if end else b""))

    return behave


def saying(status: int, **headers: object) -> Behaviour:
    def behave(handler: Handler, _: bytes) -> None:
        handler.start(status, Content_Length=0, **headers)

    return behave


def redirecting(address: str) -> Behaviour:
    return saying(302, Location=address)
