"""The download against a real HTTP server on this machine: cut, stubborn, wrong and hostile."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from monai.apps import DecathlonDataset
from scripts import download, transfer
from scripts.errors import InputError

TOP = download.FOLDER


class Server(ThreadingHTTPServer):
    """Serves one file; the attributes say how badly."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b""
        self.etag: str | None = '"first"'
        self.knows_range = True
        self.cut_after: list[int] = []  # bytes sent by the next answers before the connection is closed
        self.errors: list[int] = []  # status codes of the next answers
        self.ranges: list[str | None] = []  # Range of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/Task01_BrainTumour.tar"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        if server.errors:
            self.send_error(server.errors.pop(0))
            return
        content, start, size = server.content, 0, len(server.content)
        same = self.headers.get("If-Range") in (None, server.etag)
        if wanted and server.knows_range and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= size:
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(size - start))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        end = start + server.cut_after.pop(0) if server.cut_after else size
        self.wfile.write(content[start:end])

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(transfer, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 1000)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def plain(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def make_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar file of an honest data set and then the given members."""
    description = json.dumps(
        {"training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}], "test": []}
    )
    honest = [
        special(TOP, tarfile.DIRTYPE),
        plain(f"._{TOP}"),
        plain(f"{TOP}/dataset.json", description.encode()),
        plain(f"./{TOP}/imagesTr/a.nii.gz", os.urandom(5000)),
        plain(f"{TOP}/imagesTr/._a.nii.gz"),
        plain(f"{TOP}/labelsTr/a.nii.gz", os.urandom(3000)),
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, content in [*honest, *members]:
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def fetch_all(server: Server, output: Path, **options: str) -> Path:
    return download.download(output, server.url, options.get("md5", md5(server.content)))


COMPLETE = [
    TOP,
    *(f"{TOP}/{name}" for name in ("dataset.json", "imagesTr", "imagesTr/a.nii.gz", "labelsTr", "labelsTr/a.nii.gz")),
]


def test_address_and_checksum_are_monais() -> None:
    assert DecathlonDataset.resource[TOP] == download.URL
    assert DecathlonDataset.md5[TOP] == download.MD5
    assert download.URL.startswith("https://")


def test_command_shows_licence_then_brings_the_data(server: Server, tmp_path: Path, capsys) -> None:
    server.content = make_tar()
    command = ["--output", str(tmp_path / "new" / "data"), "--url", server.url, "--md5", md5(server.content), "--yes"]
    assert download.main(command) == 0
    shown = capsys.readouterr().out
    assert shown.index("CC-BY-SA 4.0") < shown.index("ready:")
    assert names(tmp_path / "new" / "data") == COMPLETE  # no resource fork, no archive, no part left

    assert download.main(command) == 0
    assert len(server.ranges) == 1  # the second time nothing is asked for


@pytest.mark.parametrize("etag", ['"first"', 'W/"first"', None])
def test_cut_connections_are_resumed(server: Server, tmp_path: Path, etag: str | None) -> None:
    server.content, server.etag, server.cut_after = make_tar(), etag, [2500, 0, 4000]
    fetch_all(server, tmp_path)
    assert names(tmp_path) == COMPLETE
    assert server.ranges == [None, "bytes=2500-", "bytes=2500-", "bytes=6500-"]


def test_a_later_command_goes_on_where_the_earlier_gave_up(server: Server, tmp_path: Path, caplog) -> None:
    server.content, server.cut_after, server.errors = make_tar(), [3000], []
    server.cut_after += [0] * transfer.ATTEMPTS
    with pytest.raises(InputError, match="run the same command again"):
        fetch_all(server, tmp_path)
    assert names(tmp_path) == [f"{TOP}.tar.part", f"{TOP}.tar.part.json"]
    server.ranges.clear()
    caplog.set_level(logging.INFO)
    fetch_all(server, tmp_path)
    assert server.ranges == ["bytes=3000-"]
    assert "earlier attempt" in caplog.text
    assert names(tmp_path) == COMPLETE


def test_server_without_range_starts_again(server: Server, tmp_path: Path) -> None:
    server.content, server.knows_range, server.cut_after = make_tar(), False, [2500]
    fetch_all(server, tmp_path)
    assert server.ranges == [None, "bytes=2500-"]
    assert names(tmp_path) == COMPLETE


@pytest.mark.parametrize("etag", ['"second"', 'W/"first"', None])
def test_a_file_that_changed_meanwhile_starts_again(server: Server, tmp_path: Path, etag: str | None) -> None:
    server.content, server.cut_after = os.urandom(50000), [20000] + [0] * transfer.ATTEMPTS
    server.etag = etag if etag != '"second"' else '"first"'
    with pytest.raises(InputError):
        fetch_all(server, tmp_path)
    server.content, server.etag, server.cut_after = make_tar(), etag, []
    fetch_all(server, tmp_path)
    assert names(tmp_path) == COMPLETE


def test_busy_server_is_asked_again_and_refusal_is_final(server: Server, tmp_path: Path) -> None:
    server.content, server.errors = make_tar(), [503, 429]
    fetch_all(server, tmp_path / "a")
    assert len(server.ranges) == 3

    server.errors = [404]
    with pytest.raises(InputError, match="404"):
        fetch_all(server, tmp_path / "b")
    assert len(server.ranges) == 4
    assert names(tmp_path / "b") == []


def test_wrong_checksum_keeps_nothing(server: Server, tmp_path: Path) -> None:
    server.content = make_tar()
    with pytest.raises(InputError, match=f"MD5 {md5(server.content)} where {download.MD5} is wanted"):
        fetch_all(server, tmp_path, md5=download.MD5)
    assert names(tmp_path) == []


def test_truncated_tar_unpacks_nothing(server: Server, tmp_path: Path) -> None:
    whole = make_tar()
    label = whole.index(f"{TOP}/labelsTr/a.nii.gz".encode())
    for length in (label + 512 + 100, label + 200, 100):
        server.content = whole[:length]
        with pytest.raises(InputError, match="truncated or no tar file"):
            fetch_all(server, tmp_path / str(length))
        assert names(tmp_path / str(length)) == [f"{TOP}.tar"]


HOSTILE: dict[str, tuple[tarfile.TarInfo, bytes]] = {
    "parent": plain(f"{TOP}/../../escaped"),
    "outside of the folder": plain("escaped"),
    "absolute": plain("/tmp/escaped"),
    "windows parent": plain(f"{TOP}/..\\..\\escaped"),
    "windows drive": plain("C:/escaped"),
    "symlink": special(f"{TOP}/link", tarfile.SYMTYPE, "/etc/passwd"),
    "hardlink": special(f"{TOP}/link", tarfile.LNKTYPE, f"{TOP}/dataset.json"),
    "device": special(f"{TOP}/device", tarfile.CHRTYPE),
    "fifo": special(f"{TOP}/fifo", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_tar_unpacks_nothing(server: Server, tmp_path: Path, kind: str) -> None:
    server.content = make_tar(HOSTILE[kind])
    output = tmp_path / "inner" / "data"
    with pytest.raises(InputError, match="nothing was unpacked"):
        fetch_all(server, output)
    assert names(tmp_path) == ["inner", "inner/data", f"inner/data/{TOP}.tar"]


def test_verified_archive_is_unpacked_without_asking_the_server(server: Server, tmp_path: Path) -> None:
    content = make_tar()
    (tmp_path / f"{TOP}.tar").write_bytes(content)
    fetch_all(server, tmp_path, md5=md5(content))
    assert server.ranges == []
    assert names(tmp_path) == COMPLETE


def test_archive_without_files_is_refused(server: Server, tmp_path: Path) -> None:
    server.content = b"\0" * 10240
    with pytest.raises(InputError, match="holds no file"):
        fetch_all(server, tmp_path)


def test_small_disk_is_refused_before_the_first_byte(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = make_tar()
    # Room for the archive alone is not enough: it is unpacked beside itself.
    usage = shutil.disk_usage(tmp_path)._replace(free=len(server.content) * 3 // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="free some space"):
        fetch_all(server, tmp_path)
    assert not (tmp_path / f"{TOP}.tar.part").exists()


def test_unreachable_server_and_other_schemes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    with pytest.raises(InputError, match="check the network"):
        download.download(tmp_path, "http://127.0.0.1:9/x.tar")
    with pytest.raises(InputError, match="no http or https address"):
        download.download(tmp_path, "file:///etc/passwd")


def test_output_that_is_a_file(server: Server, tmp_path: Path) -> None:
    server.content = make_tar()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        fetch_all(server, tmp_path / "file")


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 1), ("", 1)])
def test_licence_is_asked_for_on_a_terminal(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, answer: str, code: int
) -> None:
    server.content = make_tar()
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    command = ["--output", str(tmp_path), "--url", server.url, "--md5", md5(server.content)]
    assert download.main(command) == code
    assert len(server.ranges) == (0 if code else 1)
    assert "Do you agree?" in capsys.readouterr().out


def test_without_a_terminal_the_flag_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert download.main(["--output", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "CC-BY-SA" in shown.out
    assert shown.err == "error: there is no terminal to ask for your agreement to the licence; give --yes to agree.\n"


def _two_cases(description: dict) -> None:
    description["training"] *= 2


def _absent_file(description: dict) -> None:
    description["training"][0]["label"] = "./labelsTr/b.nii.gz"


@pytest.mark.parametrize(("spoil", "message"), [(_two_cases, "2 training"), (_absent_file, "is listed .* and absent")])
def test_cases_are_counted(tmp_path: Path, spoil: Callable[[dict], None], message: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(make_tar())) as tar:
        tar.extractall(tmp_path)
    download.check_cases(tmp_path / TOP, n_training=1, n_test=0)
    description = json.loads((tmp_path / TOP / "dataset.json").read_text())
    spoil(description)
    (tmp_path / TOP / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=message):
        download.check_cases(tmp_path / TOP, n_training=1, n_test=0)
