"""Downloads against a server that breaks off, stalls, redirects, lies, ignores ranges and refuses; full disks."""

import errno
import gzip
import hashlib
import logging
import os
import random
import shutil
import threading
import time
from collections import namedtuple

import pytest

from tests.helpers.dataset_server import (
    breaking_off,
    chunked,
    claiming,
    ignoring_ranges,
    redirecting,
    running_server,
    saying,
    sending,
    stalling,
)
from tests.helpers.processes import LONG
from wildrayzer.datasets.download import DownloadError, Patience, download, shown, verify_file
from wildrayzer.datasets.table import RemoteFile
from wildrayzer.io.disk_space import DiskFullError

BODY = random.Random(0).randbytes(3_000_000)
MD5 = hashlib.md5(BODY).hexdigest()
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running_server() as running:
        running.files = {"/a/set.bin": BODY, "/b/set.bin": BODY}
        yield running


def remote(server, *mirrors: str, **facts) -> RemoteFile:
    return RemoteFile(name="set.bin", mirrors=[server.address + path for path in mirrors or ("/a/set.bin",)], **facts)


def quick(waits: list[float] | None = None, **options) -> Patience:
    """Patience that does not wait, and notes how long it would have."""
    return Patience(sleep=(waits if waits is not None else []).append, **options)


def left_behind(folder) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_a_file_arrives_whole_and_leaves_nothing_beside_it(server, tmp_path):
    download(remote(server, size=len(BODY), md5=MD5, sha256=SHA256), tmp_path / "set.bin", patience=quick())
    assert (tmp_path / "set.bin").read_bytes() == BODY
    assert left_behind(tmp_path) == {"set.bin"}


def test_a_file_that_is_there_is_not_asked_for(server, tmp_path):
    (tmp_path / "set.bin").write_bytes(b"mine")
    download(remote(server, md5=MD5), tmp_path / "set.bin", patience=quick())
    assert (tmp_path / "set.bin").read_bytes() == b"mine"
    assert server.requests == []


def test_a_broken_download_goes_on_where_it_broke(server, tmp_path):
    server.plan("/a/set.bin", breaking_off(1_000_000), breaking_off(500_000))
    download(remote(server, sha256=SHA256), tmp_path / "set.bin", patience=quick())
    assert (tmp_path / "set.bin").read_bytes() == BODY
    assert server.ranges("/a/set.bin") == [None, "bytes=1000000-", "bytes=1500000-"]


@pytest.mark.parametrize("seed", range(5))
def test_any_number_of_breaks_with_progress_is_survived(server, tmp_path, seed):
    rng = random.Random(seed)
    breaks = [breaking_off(rng.randrange(1, 200_000)) for _ in range(12)]
    server.plan("/a/set.bin", *breaks)
    download(remote(server), tmp_path / "set.bin", patience=quick(tries=2))
    assert (tmp_path / "set.bin").read_bytes() == BODY, "without a published checksum too"
    assert len(server.requests) == 13


def test_a_stalled_connection_is_given_up_and_continued(server, tmp_path):
    server.plan("/a/set.bin", stalling(700_000))
    download(remote(server, md5=MD5), tmp_path / "set.bin", patience=quick(stall=1.0))
    assert (tmp_path / "set.bin").read_bytes() == BODY
    assert server.ranges("/a/set.bin") == [None, "bytes=700000-"]


def test_a_server_that_ignores_ranges_starts_again(server, tmp_path):
    server.plan("/a/set.bin", breaking_off(1_000_000, ranges=False), ignoring_ranges)
    download(remote(server), tmp_path / "set.bin", patience=quick())
    assert (tmp_path / "set.bin").read_bytes() == BODY
    assert server.ranges("/a/set.bin") == [None, "bytes=1000000-"]


def test_endless_breaks_without_progress_end_with_the_partial_file_kept(server, tmp_path):
    server.standing["/a/set.bin"] = breaking_off(1_000, ranges=False)
    waits: list[float] = []
    with pytest.raises(DownloadError, match=r"ended after 1000 of 3000000 bytes.*\n.*stays in .*set\.bin\.part"):
        download(remote(server), tmp_path / "set.bin", patience=quick(waits, tries=4))
    assert waits == [1.0, 2.0, 4.0], "back-off doubles"
    assert len(server.requests) == 4
    assert left_behind(tmp_path) == {"set.bin.part", "set.bin.part.json"}


def test_a_later_call_continues_what_an_earlier_one_left(server, tmp_path):
    server.plan("/a/set.bin", breaking_off(1_000_000), saying(404))
    with pytest.raises(DownloadError, match="answers 404"):
        download(remote(server), tmp_path / "set.bin", patience=quick())
    download(remote(server), tmp_path / "set.bin", patience=quick())
    assert server.ranges("/a/set.bin")[-1] == "bytes=1000000-"
    assert (tmp_path / "set.bin").read_bytes() == BODY


def test_a_file_that_changed_meanwhile_is_not_glued_to_the_old_one(server, tmp_path):
    new = random.Random(1).randbytes(2_000_000)
    server.plan("/a/set.bin", breaking_off(1_000_000), sending(new, tag='"v2"'))
    download(remote(server), tmp_path / "set.bin", patience=quick())
    assert server.requests[1][2]["If-Range"] == '"v1"'
    assert (tmp_path / "set.bin").read_bytes() == new


def test_another_mirror_starts_from_the_first_byte(server, tmp_path):
    server.plan("/a/set.bin", breaking_off(1_000_000), saying(410))
    download(remote(server, "/a/set.bin", "/b/set.bin"), tmp_path / "set.bin", patience=quick())
    assert server.ranges("/b/set.bin") == [None]
    assert (tmp_path / "set.bin").read_bytes() == BODY


def test_a_part_that_is_whole_already_is_taken_after_asking(server, tmp_path):
    server.plan("/a/set.bin", breaking_off(2_999_999))
    with pytest.raises(DownloadError):
        download(remote(server), tmp_path / "set.bin", patience=quick(tries=1))
    with (tmp_path / "set.bin.part").open("ab") as stream:
        stream.write(BODY[-1:])
    download(remote(server, md5=MD5), tmp_path / "set.bin", patience=quick())
    assert server.ranges("/a/set.bin")[-1] == "bytes=3000000-", "answered by 416"
    assert (tmp_path / "set.bin").read_bytes() == BODY


def test_redirects_are_followed_and_loops_refused(server, tmp_path):
    server.plan("/moved", redirecting(f"{server.address}/a/set.bin"))
    download(remote(server, "/moved"), tmp_path / "set.bin", patience=quick())
    assert (tmp_path / "set.bin").read_bytes() == BODY
    server.standing["/loop"] = redirecting(f"{server.address}/loop")
    with pytest.raises(DownloadError, match="redirects without end"):
        download(remote(server, "/loop"), tmp_path / "loop.bin", patience=quick())


def test_a_length_that_is_too_long_is_noticed(server, tmp_path):
    server.standing["/a/set.bin"] = claiming(len(BODY) + 100)
    with pytest.raises(DownloadError, match="ended after 3000000 of 3000100 bytes"):
        download(remote(server), tmp_path / "set.bin", patience=quick(tries=2))
    assert not (tmp_path / "set.bin").exists()


def test_a_length_other_than_the_published_one_is_refused_before_any_byte(server, tmp_path):
    server.standing["/a/set.bin"] = claiming(1_000_000)
    with pytest.raises(DownloadError, match="offers 1000000 bytes, 3000000 are published"):
        download(remote(server, size=len(BODY)), tmp_path / "set.bin", patience=quick())
    assert left_behind(tmp_path) == set()


def test_a_length_that_is_too_short_is_caught_by_the_checksum(server, tmp_path):
    server.standing["/a/set.bin"] = claiming(1_000_000)
    download(remote(server, "/a/set.bin", "/b/set.bin", md5=MD5), tmp_path / "set.bin", patience=quick())
    assert (tmp_path / "set.bin").read_bytes() == BODY


def test_a_body_without_a_length_must_come_to_its_end(server, tmp_path):
    server.plan("/a/set.bin", chunked(BODY[:1000], end=False), chunked(BODY))
    download(remote(server), tmp_path / "set.bin", patience=quick())
    assert (tmp_path / "set.bin").read_bytes() == BODY
    server.plan("/b/set.bin", claiming(0))
    with pytest.raises(DownloadError, match="sends an empty file"):
        download(remote(server, "/b/set.bin"), tmp_path / "empty.bin", patience=quick())


def test_a_server_that_states_no_length_is_not_let_send_for_ever(server, tmp_path):
    server.plan("/a/set.bin", chunked(BODY))
    with pytest.raises(DownloadError, match="sends more than the 10 bytes that are published or stated"):
        download(remote(server, size=10), tmp_path / "set.bin", patience=quick())
    assert left_behind(tmp_path) == set()


def test_a_wrong_checksum_is_never_taken(server, tmp_path):
    server.standing["/a/set.bin"] = sending(b"x" * len(BODY))
    wrong = hashlib.sha256(b"x" * len(BODY)).hexdigest()
    with pytest.raises(DownloadError, match=rf"sha256 is {wrong}, {SHA256} is published"):
        download(remote(server, sha256=SHA256), tmp_path / "set.bin", patience=quick())
    assert left_behind(tmp_path) == set()
    assert len(server.requests) == 1, "the same bytes would come again"


def test_a_wrong_checksum_after_a_resume_starts_from_the_first_byte_once(server, tmp_path):
    server.plan("/a/set.bin", breaking_off(1_000_000))
    with pytest.raises(DownloadError):
        download(remote(server), tmp_path / "set.bin", patience=quick(tries=1))
    part = tmp_path / "set.bin.part"
    part.write_bytes(b"?" + part.read_bytes()[1:])  # a bit flipped on the disk
    download(remote(server, md5=MD5), tmp_path / "set.bin", patience=quick())
    assert server.ranges("/a/set.bin") == [None, "bytes=1000000-", None]
    assert (tmp_path / "set.bin").read_bytes() == BODY


def test_the_next_mirror_is_asked_when_one_has_no_file(server, tmp_path):
    download(remote(server, "/gone", "/b/set.bin"), tmp_path / "set.bin", patience=quick())
    assert [path for _, path, _ in server.requests] == ["/gone", "/b/set.bin"]


def test_a_busy_server_is_asked_again_as_late_as_it_wishes(server, tmp_path):
    server.plan("/a/set.bin", saying(503, Retry_After=7), saying(429), saying(500))
    waits: list[float] = []
    download(remote(server), tmp_path / "set.bin", patience=quick(waits))
    assert waits == [7.0, 2.0, 4.0]
    server.plan("/b/set.bin", saying(503, Retry_After=99_999))
    download(remote(server, "/b/set.bin"), tmp_path / "b.bin", patience=quick(waits))
    assert waits[-1] == 60.0, "no server makes it wait for a day"


@pytest.mark.parametrize("number", ["²", "-5", "9" * 5000])
def test_a_header_that_holds_no_number_is_as_good_as_none(server, tmp_path, number):
    head = f"HTTP/1.0 200 OK\r\nContent-Length: {number}\r\n\r\n".encode("latin-1")
    server.plan("/odd", lambda handler, _: handler.wfile.write(head + b"0123456789"))
    busy = f"HTTP/1.0 503 busy\r\nRetry-After: {number}\r\n\r\n".encode("latin-1")
    server.plan("/busy", *[lambda handler, _: handler.wfile.write(busy)] * 9)
    with pytest.raises(DownloadError, match="/busy: answers 503"):
        download(remote(server, "/busy"), tmp_path / "busy", patience=quick())
    download(remote(server, "/odd"), tmp_path / "odd", patience=quick())
    assert (tmp_path / "odd").read_bytes() == b"0123456789"


def test_when_all_mirrors_fail_each_ones_answer_is_told(server, tmp_path):
    with pytest.raises(DownloadError) as caught:
        download(remote(server, "/gone", "/lost"), tmp_path / "set.bin", patience=quick())
    for text in ("/gone: answers 404", "/lost: answers 404", "put the file at", str(tmp_path / "set.bin")):
        assert text in str(caught.value)


def test_nobody_listens(tmp_path):
    with running_server() as server:
        address = server.address
    file = RemoteFile(name="set.bin", mirrors=[f"{address}/a"])
    with pytest.raises(DownloadError, match="connection failed"):
        download(file, tmp_path / "set.bin", patience=quick(tries=2))


def test_a_web_page_is_not_taken_for_the_file(server, tmp_path):
    server.plan("/a/set.bin", sending(b"<html>log in</html>", kind="text/html; charset=utf-8"))
    with pytest.raises(DownloadError, match="sends a web page in place of the file"):
        download(remote(server), tmp_path / "set.bin", patience=quick())


def test_an_encoded_body_is_not_taken_for_the_file(server, tmp_path):
    packed = gzip.compress(BODY)
    server.standing["/a/set.bin"] = sending(packed, encoding="gzip")
    download(remote(server, "/a/set.bin", "/b/set.bin"), tmp_path / "set.bin", patience=quick())
    assert (tmp_path / "set.bin").read_bytes() == BODY, "without a published checksum too"
    assert [headers["Accept-Encoding"] for _, _, headers in server.requests] == ["identity"] * 2
    with pytest.raises(DownloadError, match="sends the file encoded as gzip, unasked"):
        download(remote(server), tmp_path / "other.bin", patience=quick())
    file = RemoteFile(name="set.tar.gz", mirrors=[f"{server.address}/a/set.bin"])
    download(file, tmp_path / "set.tar.gz", patience=quick())
    assert (tmp_path / "set.tar.gz").read_bytes() == packed, "the encoding is that of the file itself"


def test_a_full_disk_keeps_what_arrived_and_says_so(server, tmp_path):
    (tmp_path / "set.bin.part").symlink_to("/dev/full")  # every write fails with "no space left on device"
    with pytest.raises(DiskFullError, match=r"is full \(.*\): set\.bin stopped; .* what is finished is kept"):
        download(remote(server, "/a/set.bin", "/b/set.bin"), tmp_path / "set.bin", patience=quick())
    assert not (tmp_path / "set.bin").exists()
    assert len(server.requests) == 1, "another mirror would not help"


def test_too_small_a_disk_is_refused_before_any_byte(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1_000_000))
    with pytest.raises(DiskFullError, match=r"set\.bin needs 0\.003 GB more, but .* has 0\.001 GB free"):
        download(remote(server), tmp_path / "set.bin", patience=quick())
    assert not (tmp_path / "set.bin.part").exists()


def test_two_downloads_of_one_file_give_one_transfer(server, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def slowly(handler, body):
        handler.start(200, Content_Length=len(body))
        handler.wfile.write(body[:1000])
        begun.set()
        go_on.wait(LONG)
        handler.wfile.write(body[1000:])

    server.plan("/a/set.bin", slowly)
    file, errors = remote(server, md5=MD5), []

    def run():
        try:
            download(file, tmp_path / "set.bin", patience=quick())
        except DownloadError as error:
            errors.append(error)

    first, second = threading.Thread(target=run), threading.Thread(target=run)
    first.start()
    assert begun.wait(LONG)
    second.start()
    time.sleep(0.1)
    assert second.is_alive(), "the second waits for the first"
    go_on.set()
    first.join(LONG)
    second.join(LONG)
    assert errors == []
    assert len(server.requests) == 1
    assert (tmp_path / "set.bin").read_bytes() == BODY


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_written_to(server, tmp_path, monkeypatch, caplog, code):
    def refuse(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    download(remote(server, md5=MD5), tmp_path / "set.bin", patience=quick())
    assert (tmp_path / "set.bin").read_bytes() == BODY
    assert "this file system has no locks" in caplog.text


def test_secrets_in_addresses_are_neither_logged_nor_told(server, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, logger="wildrayzer")
    address = server.address.replace("://", "://me:hunter2@") + "/gone?token=hunter3"
    file = RemoteFile(name="set.bin", mirrors=[address, f"{server.address}/lost?token=hunter3"])
    server.plan("/lost", breaking_off(0), saying(500))
    with pytest.raises(DownloadError) as caught:
        download(file, tmp_path / "set.bin", patience=quick(tries=2))
    assert "hunter" not in str(caught.value) + caplog.text
    assert "/gone" in caplog.text
    assert shown("https://u:p@host/file?x=1#y") == "https://host/file"


@pytest.mark.parametrize(
    ("facts", "message"),
    [({"size": 4}, "3 bytes, 4 are published"), ({"md5": "0" * 32}, "md5 is 900150983cd24fb0d6963f7d28e17f72"),
     ({"sha256": "00000000"}, "sha256 is ba7816bf")],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told(tmp_path, facts, message):
    (tmp_path / "abc").write_bytes(b"abc")
    assert message in str(verify_file(tmp_path / "abc", RemoteFile(name="abc", mirrors=["http://x"], **facts)))
    good = RemoteFile(
        name="abc", mirrors=["http://x"], size=3, md5="900150983cd24fb0d6963f7d28e17f72", sha256="ba7816bf"
    )
    assert verify_file(tmp_path / "abc", good) is None
