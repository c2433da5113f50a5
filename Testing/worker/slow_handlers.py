"""Handlers for the tests of the worker: a real, torch-free threshold segmenter, and every way to misbehave."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.progress import Progress
from dropiris.volume import LabelMap, Reference, Structure, Volume
from dropiris.worker import handlers as shipped
from dropiris.worker.server import Call, Handler

STAGES = ("Loading the model", "Encoding the reference", "Segmenting")


def handlers() -> dict[str, Handler]:
    own = (threshold, stages, sleep_deaf, hold_interpreter, spawn_child, print_noise, write_noise_into_stdout)
    own += (blame_input, crash_in_python, run_out_of_memory, leave, break_in_a_library, fill_the_disk)
    own += (not_json, count_structures, many_steps, environment)
    return {**shipped.handlers(), **{handler.__name__: handler for handler in own}}


def threshold(call: Call) -> dict[str, Any]:
    """Label 1 above ``level``, in ``tiles`` slabs along k, each taking ``seconds``."""
    volume = call.volumes["volume"]
    assert isinstance(volume, Volume)
    labels = np.zeros(volume.shape, np.uint8, order="F")
    slabs = np.array_split(np.arange(volume.shape[2]), call.params.get("tiles", 1))
    for n, ks in enumerate(slabs, 1):
        call.cancel.raise_if_cancelled()
        time.sleep(call.params.get("seconds", 0.0))
        labels[:, :, ks] = volume.array[:, :, ks] > call.params["level"]
        call.progress(Progress("Segmenting", n / len(slabs), n, len(slabs)))
    return {"labels": LabelMap(labels, volume.affine, (Structure(1, "bright", (1.0, 0.5, 0.0), "a~b~c~^^"),))}


def stages(call: Call) -> dict[str, Any]:
    """Load, encode, segment, each for ``seconds``, deaf to cancel inside a stage as a long convolution is."""
    for n, stage in enumerate(STAGES):
        call.progress(Progress(stage, n / len(STAGES)))
        time.sleep(call.params["seconds"])
    return {}


def sleep_deaf(call: Call) -> dict[str, Any]:
    call.progress(Progress("Segmenting"))
    time.sleep(60)
    return {}


def hold_interpreter(call: Call) -> dict[str, Any]:
    """One C call that never lets the listening thread run."""
    call.progress(Progress("Segmenting"))
    return {"digits": len(str(7 ** (10**8)))}


def spawn_child(call: Call) -> dict[str, Any]:
    """A child process, as a library's data loader starts one, that outlives everything unless it is killed."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    call.progress(Progress("Segmenting", message=str(child.pid)))
    time.sleep(60)
    return {}


def print_noise(call: Call) -> dict[str, Any]:
    print("a library prints")
    os.write(1, b"a library prints in C\n")
    subprocess.run([sys.executable, "-c", "print('a child prints')"], check=True)
    return {"read": sys.stdin.read() if sys.stdin else ""}


def write_noise_into_stdout(call: Call) -> dict[str, Any]:
    """Garbage in the very stream of the protocol: what no redirection can prevent."""
    report: Any = call.progress
    stream = next(c.cell_contents for c in report.__closure__ if hasattr(c.cell_contents, "serve"))._out
    for noise in (b"garbage\n", b"\xff\xfe\x00\n", b"[1,2]\n", b'{"type":"step"}\n', b'{"type":"answer","id":"x"}\n'):
        stream.write(noise)
    stream.write(b'{"type":"answer","id":999,"value":{}}\n' + b"x" * 20_000_000 + b"\n")
    stream.flush()
    return {"survived": True}


def blame_input(call: Call) -> dict[str, Any]:
    class Narrower(InputError):
        """The client does not know this class, only the one it derives from."""

    raise Narrower("The scan is empty; choose another one.")


def crash_in_python(call: Call) -> dict[str, Any]:
    return {"never": {}["secret detail"]}


def run_out_of_memory(call: Call) -> dict[str, Any]:
    raise MemoryError


def leave(call: Call) -> dict[str, Any]:
    os._exit(call.params["code"])


def break_in_a_library(call: Call) -> dict[str, Any]:
    os.kill(os.getpid(), getattr(signal, call.params["signal"]))
    time.sleep(60)
    return {}


def fill_the_disk(call: Call) -> dict[str, Any]:
    """No file may grow beyond 1 MiB from here on, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
    return threshold(call)


def not_json(call: Call) -> dict[str, Any]:
    return {"thing": object()}


def count_structures(call: Call) -> dict[str, Any]:
    references = [v for v in call.volumes.values() if isinstance(v, Reference)]
    return {"voxels": {s.name: int(r.mask(s.name).sum()) for r in references for s in r.structures}}


def many_steps(call: Call) -> dict[str, Any]:
    for n in range(1, 5001):
        call.progress(Progress("Segmenting", n / 5000, n, 5000))
    return {}


def environment(call: Call) -> dict[str, Any]:
    return {"variables": dict(os.environ), "folder": os.getcwd()}
