"""Files from the network, whole or not there: against a server that does all that servers do."""

import errno
import hashlib
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from maf_runner.datasets.preparation import download as module
from maf_runner.datasets.preparation.download import Download, fetch
from maf_runner.system import atomic
from maf_runner.system.errors import DataError, Interrupted

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
NAME = "mnist/train.gz"
PROGRAM = """
import sys
from pathlib import Path
from maf_runner.datasets.preparation.download import Download, fetch
url, raw, checksum, size = sys.argv[1:]
fetch(Download("mnist/train.gz", (url,), checksum, int(size)), Path(raw))
"""


class Server(ThreadingHTTPServer):
    """Sends ``content``, and notes what it was asked and how much it sends.

    Attributes:
        ranges: ``yes``, ``no`` (everything whatever was asked) or ``wrong`` (another part).
        cuts: for each request in turn, after how many bytes the connection is cut.
        status: the answer to every request, if not the content.
        hold: the second half of the content is sent once this is set.
        seen: for each request the range asked, and the bytes of content it sends.
    """

    daemon_threads = True

    def __init__(self, content=CONTENT, *, ranges="yes", cuts=(), status=None, hold=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.cuts = content, ranges, list(cuts)
        self.status, self.hold, self.headers, self.seen = status, hold, {}, []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def mirror(self):
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def url(self):
        return self.mirror + NAME

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        entry = [asked, 0]
        server.seen.append(entry)
        first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if server.ranges == "no":
            first = 0
        elif server.ranges == "wrong" and first:
            first -= 1
        size = len(server.content)
        late = first >= size
        status = server.status or (416 if late else 206 if first else 200)
        body = server.content[first:] if status in (200, 206) else b"<html>"
        self.send_response(status)
        self.send_header("Content-Length", len(body))
        for key, value in server.headers.items():
            self.send_header(key, value)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        self.end_headers()
        if server.cuts:
            body = body[: server.cuts.pop(0)]
        half = len(body) // 2 if server.hold else len(body)
        for piece in (body[:half], body[half:]):
            entry[1] += len(piece)  # first: who has the last byte looks at once
            self.wfile.write(piece)
            if server.hold:
                server.hold.wait(5)
        self.close_connection = True

    def log_message(self, *words):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(*arguments, **options):
        servers.append(Server(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        if server.hold:
            server.hold.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, caplog):
    """No pauses, no proxy; what is said can be read."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(logging.getLogger("maf_runner"), "propagate", True)
    caplog.set_level(logging.INFO, logger="maf_runner")


def wanted(*servers, checksum=None, content=CONTENT):
    urls = tuple(s if isinstance(s, str) else s.url for s in servers)
    checksum = checksum or "sha256:" + hashlib.sha256(content).hexdigest()
    return Download(NAME, urls, checksum, len(content))


def part_of(raw, content=None):
    """The .part of the file, with this content if there is one."""
    part = raw / f"{NAME}.part"
    if content is not None:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
    return part


def unused():
    """An address where nobody listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        return f"http://127.0.0.1:{server.server_port}/x"


def is_whole(path, raw):
    """The file is right and nothing half-done lies beside it."""
    assert path == raw / NAME
    assert path.read_bytes() == CONTENT
    assert {p.name for p in path.parent.iterdir()} - {".train.gz.lock"} == {"train.gz"}
    return True


def test_whole(tmp_path, serve, caplog):
    server = serve()
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)
    assert server.seen == [[None, len(CONTENT)]]
    assert [r.levelname for r in caplog.records] == ["INFO", "INFO"]
    assert "300,000 bytes" in caplog.messages[0] and server.url in caplog.messages[0]


def test_md5_in_capitals(tmp_path, serve):
    checksum = "md5:" + hashlib.md5(CONTENT).hexdigest().upper()
    assert is_whole(fetch(wanted(serve(), checksum=checksum), tmp_path), tmp_path)


def test_there_already(tmp_path, serve):
    server = serve()
    fetch(wanted(server), tmp_path)
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)
    assert len(server.seen) == 1


def test_another_file_there_is_left_alone(tmp_path, serve):
    server = serve()
    path = tmp_path / NAME
    path.parent.mkdir()
    path.write_bytes(b"mine")
    download = wanted(server)
    with pytest.raises(DataError, match="Move it away") as caught:
        fetch(download, tmp_path)
    found = "sha256:" + hashlib.sha256(b"mine").hexdigest()
    assert all(word in str(caught.value) for word in (str(path), download.checksum, found))
    assert path.read_bytes() == b"mine" and not server.seen


def test_encoded_files_stay_packed(tmp_path, serve):
    server = serve()
    server.headers["Content-Encoding"] = "gzip"
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)


def test_a_cut_is_resumed(tmp_path, serve, caplog):
    server = serve(cuts=[100_000, 50_000])
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)
    sent = [[None, 100_000], ["bytes=100000-", 50_000], ["bytes=150000-", 150_000]]
    assert server.seen == sent
    assert "resuming at 100,000 bytes" in caplog.text


def test_cuts_without_progress_end(tmp_path, serve):
    server = serve(cuts=[100_000] + [0] * 20)
    with pytest.raises(DataError, match="IncompleteRead"):
        fetch(wanted(server), tmp_path)
    assert len(server.seen) == 1 + module.RETRIES
    assert part_of(tmp_path).read_bytes() == CONTENT[:100_000]
    server.cuts.clear()
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)
    assert server.seen[-1] == ["bytes=100000-", 200_000]


def test_a_cut_is_resumed_elsewhere(tmp_path, serve):
    first, second = serve(cuts=[100_000] + [0] * 20), serve()
    assert is_whole(fetch(wanted(first, second), tmp_path), tmp_path)
    assert second.seen == [["bytes=100000-", 200_000]]


@pytest.mark.parametrize("ranges", ["no", "wrong"])
def test_a_server_without_ranges(tmp_path, serve, ranges):
    server = serve(ranges=ranges)
    part_of(tmp_path, CONTENT[:1000])
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)
    assert server.seen[-1][1] == len(CONTENT)


def test_a_server_of_parts_nobody_asked_for(tmp_path, serve):
    part_of(tmp_path, CONTENT[:1000])
    with pytest.raises(DataError, match="206"):
        fetch(wanted(serve(ranges="wrong", status=206)), tmp_path)


def test_nothing_is_missing_from_the_part(tmp_path, serve):
    server = serve()
    part_of(tmp_path, CONTENT)
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)
    assert [asked for asked, _ in server.seen] == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("garbage", [OTHER[:1000], OTHER, OTHER * 2], ids=["short", "as", "long"])
def test_a_part_of_something_else(tmp_path, serve, garbage):
    server = serve()
    part_of(tmp_path, garbage)
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)
    assert len(server.seen) == 2 and server.seen[1] == [None, len(CONTENT)]


def test_wrong_content_then_right(tmp_path, serve, caplog):
    wrong, right = serve(OTHER), serve()
    assert is_whole(fetch(wanted(right), tmp_path, mirror=wrong.mirror), tmp_path)
    assert len(wrong.seen) == 1  # it came in one piece, so it would come the same again
    assert right.seen == [[None, len(CONTENT)]]
    assert f"{wrong.url}: wrong checksum" in caplog.text


def test_the_mirror_comes_first(tmp_path, serve):
    mirror, server = serve(), serve()
    fetch(wanted(server), tmp_path, mirror=mirror.mirror.rstrip("/"))
    assert len(mirror.seen) == 1 and not server.seen


@pytest.mark.parametrize("status", [404, 403, 500])
def test_no_file_there_then_one(tmp_path, serve, caplog, status):
    bad, good = serve(status=status), serve()
    assert is_whole(fetch(wanted(bad, good), tmp_path), tmp_path)
    assert len(bad.seen) == 1
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1 and f"{bad.url}: {status}" in warnings[0]


def test_nobody_gives_it(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(module, "READ_SECONDS", 2)  # the others must have time on a busy machine
    silent = serve(cuts=[0], hold=threading.Event())
    urls = [serve(status=404), serve(OTHER), silent, unused(), "nowhere/x"]
    with pytest.raises(DataError) as caught:
        fetch(wanted(*urls), tmp_path)
    head, *lines, last = str(caught.value).split("\n")
    assert str(tmp_path / NAME) in head
    reasons = ["404 Not Found", "wrong checksum", "timed out", "refused", "Invalid URL"]
    for line, url, reason in zip(lines, urls, reasons, strict=True):
        assert getattr(url, "url", url) in line and reason in line
    assert f"by hand to {tmp_path / NAME}" in last


def test_too_little_space(tmp_path, serve, monkeypatch):
    server = serve()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 250_000))
    with pytest.raises(DataError, match="250,000 bytes are free") as caught:
        fetch(wanted(server), tmp_path)
    assert "300,000 bytes more" in str(caught.value) and str(tmp_path) in str(caught.value)
    assert not server.seen
    part_of(tmp_path, CONTENT[:100_000])  # the rest has room
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_the_disk_fills_up(tmp_path, serve):
    first, second = serve(), serve()
    part_of(tmp_path, b"").unlink()
    part_of(tmp_path).symlink_to("/dev/full")
    with pytest.raises(DataError, match="No space left on device") as caught:
        fetch(wanted(first, second), tmp_path)
    assert "300,000 bytes more" in str(caught.value)
    assert part_of(tmp_path).is_symlink() and not second.seen


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_the_disk_fills_up_half_way(tmp_path, serve, monkeypatch, code):
    server = serve()
    part_of(tmp_path, CONTENT[:100_000])
    open_ = Path.open

    def full(path, mode="r", *rest):
        file = open_(path, mode, *rest)
        if mode != "ab":
            return file

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *details):
                file.close()

            def write(self, chunk):
                file.write(chunk[:5000])
                raise OSError(code, os.strerror(code))

        return Full()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(DataError, match="bytes more are needed") as caught:
            fetch(wanted(server), tmp_path)
    kept = part_of(tmp_path).read_bytes()
    assert 100_000 < len(kept) <= 105_000 and CONTENT.startswith(kept)
    assert f"{300_000 - len(kept):,} bytes more" in str(caught.value)
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)


@pytest.mark.parametrize("what", ["mkdir", "replace"])
def test_a_folder_that_cannot_be_written(tmp_path, serve, monkeypatch, what):
    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, what, refuse)
    if what == "replace":
        part_of(tmp_path, b"")
    with pytest.raises(DataError, match=r"Read-only .*paths\.raw_dir"):
        fetch(wanted(serve()), tmp_path)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Interrupted])
def test_a_signal_leaves_the_part(tmp_path, serve, monkeypatch, stop):
    class Bar(module.tqdm):
        def update(self, n=1):
            raise stop(2)

    server = serve()
    with monkeypatch.context() as patch:
        patch.setattr(module, "tqdm", Bar)
        with pytest.raises(stop):
            fetch(wanted(server), tmp_path)
    have = part_of(tmp_path).stat().st_size
    assert 0 < have < len(CONTENT)
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)
    assert server.seen[-1] == [f"bytes={have}-", len(CONTENT) - have]


def started(server, raw):
    """Another process that fetches the file."""
    download = wanted(server)
    words = [server.url, str(raw), download.checksum, str(download.size)]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stderr=subprocess.PIPE)


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_kill_is_survived(tmp_path, serve):
    server = serve(hold=threading.Event())
    with started(server, tmp_path) as process:
        until(lambda: part_of(tmp_path).exists() and part_of(tmp_path).stat().st_size > 100_000)
        process.kill()
    assert not (tmp_path / NAME).exists()
    have = part_of(tmp_path).stat().st_size
    server.hold.set()
    assert is_whole(fetch(wanted(server), tmp_path), tmp_path)
    assert server.seen[-1] == [f"bytes={have}-", len(CONTENT) - have]


def test_two_at_once(tmp_path, serve, caplog):
    server = serve(hold=threading.Event())
    with started(server, tmp_path) as process:
        until(lambda: server.seen)
        second = threading.Thread(target=fetch, args=(wanted(server), tmp_path))
        second.start()
        until(lambda: "waiting for it" in caplog.text)
        server.hold.set()
        second.join()
        assert process.wait() == 0, process.stderr.read()
    assert is_whole(tmp_path / NAME, tmp_path)
    assert server.seen == [[None, len(CONTENT)]]


def test_the_network_is_imported_late():
    program = (
        "import sys, maf_runner.datasets.preparation.download\n"
        "print({'requests', 'urllib3'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout == "set()\n", result.stderr


def test_put_replaces(tmp_path):
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_text("new")
    old.write_text("old")
    atomic.put(new, old)
    assert old.read_text() == "new" and not new.exists()


def test_more_bytes_than_expected_are_not_taken(tmp_path, serve):
    server = serve(CONTENT * 20)
    small = Download(NAME, (server.mirror + NAME,), "sha256:" + "0" * 64, 100_000)
    with pytest.raises(DataError, match="larger than expected"):
        fetch(small, tmp_path)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) < 400_000


def test_a_server_that_hardly_sends_is_given_up(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(module, "PACE_SECONDS", 0)
    monkeypatch.setattr(module, "LEAST_PACE", 10**12)
    server = serve()
    wanted = Download(NAME, (server.mirror + NAME,), "sha256:" + "0" * 64, len(CONTENT))
    with pytest.raises(DataError, match="bytes a second"):
        fetch(wanted, tmp_path)
