"""One file over https: progress, cancel at any moment, resume, SHA-256."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from dropiris.errors import Cancelled, ModelError
from dropiris.models.bundle import sha256_of
from dropiris.progress import CancelToken, Progress, ProgressCallback

_BLOCK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte


def fetch(url: str, sha256: str, folder: Path, progress: ProgressCallback, cancel: CancelToken | None) -> Path:
    """Return the checked file in ``folder``.

    The part that arrived is kept on a cancel or a broken line, and the next call goes on from there.

    Raises
    ------
    ModelError
        No network, a refusal, or content that does not match ``sha256``.
    Cancelled
    """
    if not url.startswith(("https://", "file://")):
        raise ModelError(f"{url} is not an https address; models are downloaded over https only.")
    if len(sha256) != 64:
        raise ModelError(f"{url} is listed without a SHA-256, so it cannot be checked; import a file instead.")
    folder.mkdir(parents=True, exist_ok=True)
    part, done = folder / f"{sha256}.partial", folder / f"{sha256}.zip"
    if not done.is_file():
        try:
            receive(url, part, progress, cancel)
        except (urllib.error.URLError, OSError, ValueError) as problem:
            reason = getattr(problem, "reason", None) or problem
            raise ModelError(
                f"{url} could not be downloaded ({reason}); try again to go on from here, "
                "or download it elsewhere and import the file."
            ) from None
        progress(Progress("Checking the download", 1.0))
        if sha256_of(part) != sha256:
            part.unlink()
            raise ModelError(f"{url} does not match its SHA-256; it was deleted: try again or ask who published it.")
        part.replace(done)
    return done


def receive(url: str, part: Path, progress: ProgressCallback, cancel: CancelToken | None) -> None:
    """Append what is missing to ``part``; a server that cannot resume sends everything again."""
    have = part.stat().st_size if part.is_file() else 0
    local = url.startswith("file://")
    headers = {"Range": f"bytes={have}-"} if have and not local else {}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as problem:
        if problem.code == 416:  # nothing left to send: the digest decides
            return
        raise
    with answer:
        resumed = answer.status == 206
        if local:
            answer.read(have)
            resumed = True
        total = int(answer.headers.get("Content-Length") or 0)
        total += have if answer.status == 206 else 0
        have = have if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            while True:
                if cancel is not None and cancel.cancelled:
                    raise Cancelled("Cancelled; the next download goes on from here.")
                block = answer.read(_BLOCK)
                if not block:
                    break
                file.write(block)
                have += len(block)
                share = min(have / total, 1.0) if total else 0.0
                progress(Progress("Downloading the model", share))
        if total and have < total:
            raise OSError(f"the line broke after {have} of {total} bytes")
