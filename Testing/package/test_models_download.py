"""Downloads over a real connection: resumed, restarted, broken, cancelled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dropiris.errors import Cancelled
from dropiris.models.download import receive
from dropiris.progress import CancelToken, Progress, ignore_progress

CONTENT = bytes(range(256)) * 4096  # 1 MB


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT: /ranges resumes, /plain does not, /breaks hangs up half-way, /gone is a 404."""

    def do_GET(self) -> None:
        start = 0
        wanted = self.headers.get("Range", "")
        if self.path == "/gone":
            self.send_error(404)
            return
        if self.path != "/plain" and wanted:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        stop = (start + len(CONTENT)) // 2 if self.path == "/breaks" else len(CONTENT)
        self.wfile.write(CONTENT[start:stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/ranges", "/plain"])
@pytest.mark.parametrize("have", [0, 1000, 300_000])
def test_the_file_is_whole_whatever_was_here_and_whatever_the_server_can(
    address: str, tmp_path: Path, path: str, have: int
) -> None:
    part = tmp_path / "model.partial"
    if have:
        part.write_bytes(CONTENT[:have])
    seen: list[Progress] = []
    receive(address + path, part, seen.append, None)
    assert part.read_bytes() == CONTENT
    shares = [progress.fraction for progress in seen]
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_a_complete_part_is_not_fetched_again(address: str, tmp_path: Path) -> None:
    part = tmp_path / "model.partial"
    part.write_bytes(CONTENT)
    receive(f"{address}/ranges", part, ignore_progress, None)
    assert part.read_bytes() == CONTENT


def test_a_broken_line_keeps_what_arrived_and_the_next_call_goes_on(address: str, tmp_path: Path) -> None:
    part = tmp_path / "model.partial"
    with pytest.raises(OSError):
        receive(f"{address}/breaks", part, ignore_progress, None)
    assert 0 < part.stat().st_size < len(CONTENT)
    receive(f"{address}/ranges", part, ignore_progress, None)
    assert part.read_bytes() == CONTENT


def test_cancel_stops_at_once_and_keeps_what_arrived(address: str, tmp_path: Path) -> None:
    cancel, part = CancelToken(), tmp_path / "model.partial"
    with pytest.raises(Cancelled, match="goes on"):
        receive(f"{address}/ranges", part, lambda progress: cancel.cancel(), cancel)
    assert 0 < part.stat().st_size < len(CONTENT)


def test_a_missing_file_is_an_error(address: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="404"):
        receive(f"{address}/gone", tmp_path / "model.partial", ignore_progress, None)
