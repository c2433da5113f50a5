"""What an exit code means, in words."""

from __future__ import annotations

import signal
import sys

_MEMORY = "most likely because memory ran out; close other programs or choose fewer structures, then try again"
_WINDOWS_CODES = {
    0xC0000005: "crashed in a library (access violation); try again, or choose the device cpu",
    0xC0000017: f"was stopped by the system, {_MEMORY}",
    0xC000012D: f"was stopped by the system, {_MEMORY}",
    0xC0000135: "could not load a library (DLL); run the doctor and reinstall PyTorch",
    0xC000013A: "was stopped from the keyboard; try again",
}


def end_in_words(code: int, launched: bool, ready: bool, last_line: str) -> str:
    """The sentence for the user.

    Parameters
    ----------
    code : int
        Exit code; negative for a signal (POSIX).
    launched : bool
        Whether a launcher stood between us and the worker, which hides the signal (PythonSlicer, venv on Windows).
    ready : bool
        Whether the worker had greeted.
    last_line : str
        The last line of its log, or "".
    """
    said = f" (it said: {last_line})" if last_line else ""
    if code < 0:
        if -code == 9:
            return f"The worker was stopped by the system, {_MEMORY}."
        if -code in (signal.SIGTERM, signal.SIGINT):
            return "The worker was stopped from outside; try again."
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        return f"The worker crashed in a library ({name}); try again, or choose the device cpu."
    if code & 0xFFFFFFFF in _WINDOWS_CODES and code > 0xFFFF:
        return f"The worker {_WINDOWS_CODES[code & 0xFFFFFFFF]}."
    if not ready:
        return f"The worker could not start, exit code {code}{said}; run the doctor to see what is missing."
    if code == 137 or (code == 1 and (launched or sys.platform == "win32")):
        return f"The worker was stopped, exit code {code}, {_MEMORY}."
    return f"The worker ended by itself, exit code {code}{said}; try again and copy the log if it happens again."
