"""What the worker can be asked for: one function per request, torch loaded by the first that needs it."""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from dropiris import __version__
from dropiris.errors import DropIrisError, InputError
from dropiris.progress import Progress
from dropiris.volume import LabelMap, Reference, Volume
from dropiris.worker.server import Call, Handler
from dropiris.worker.session import load_torch


def handlers() -> dict[str, Handler]:
    """The worker's table of requests."""
    return {
        "ping": ping,
        "doctor": doctor,
        "import_dropgen": import_dropgen,
        "segment_dropgen": segment_dropgen,
        "encode_iris": encode_iris,
        "segment_iris": segment_iris,
        "check_dropgen": check_dropgen,
        "check_iris": check_iris,
    }


def ping(call: Call) -> dict[str, Any]:
    """Whether anyone is there, and who."""
    return {"package": __version__, "python": platform.python_version(), "torch_loaded": "torch" in sys.modules}


def doctor(call: Call) -> dict[str, Any]:
    """Versions, the device that would be used, and the time of a real 3D convolution on it.

    A missing torch or device is part of the report (``problem``), not an error.
    """
    report: dict[str, Any] = {
        "package": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "numpy": np.__version__,
        "problem": "",
    }
    try:
        torch = load_torch(call.progress)
        report["torch"] = torch.__version__
        from dropiris.inference import choose_device

        device = choose_device(call.params.get("device", "auto"))
        report.update(device=device.torch_device, precision=device.dtype, device_name=device.name, why=device.why)
        call.progress(Progress("Trying a convolution"))
        start = time.perf_counter()
        with torch.inference_mode():
            kind = getattr(torch, device.dtype)
            layer = torch.nn.Conv3d(1, 8, 3, padding=1).to(device.torch_device, kind)
            total = layer(torch.ones(1, 1, 32, 32, 32, device=device.torch_device, dtype=kind)).float().sum().item()
        report["convolution_ms"] = round(1000 * (time.perf_counter() - start), 1)
        if not np.isfinite(total):
            report["problem"] = "A convolution gave no finite numbers; choose the device cpu."
    except DropIrisError as error:
        report["problem"] = str(error)
    except (ImportError, RuntimeError) as error:
        report["problem"] = f"The device cannot run a convolution ({error}); choose the device cpu."
    return report


def import_dropgen(call: Call) -> dict[str, Any]:
    """``path``, a checkpoint of the authors' DropGen code, to a bundle called ``name`` in ``folder``."""
    load_torch(call.progress)
    from dropiris.models.dropgen_checkpoint import import_dropgen_checkpoint

    call.progress(Progress("Reading the checkpoint"))
    params = call.params
    return {"folder": str(import_dropgen_checkpoint(params["path"], params["folder"], params["name"]).folder)}


def segment_dropgen(call: Call) -> dict[str, Any]:
    """``model``, ``structures``, ``device`` and the volume ``volume`` to the label map ``labels``."""
    segmenter = call.session.segmenter("dropgen", call.params["model"], call.params["device"], call.progress)
    labels = segmenter.segment(
        _volume(call), structures=call.params["structures"], progress=call.progress, cancel=call.cancel
    )
    return {"labels": labels}


def encode_iris(call: Call) -> dict[str, Any]:
    """``model``, ``device`` and reference volumes to a task embedding saved as ``task_file``.

    With ``windows_file`` what is seen of the (only) reference is kept there too, for :func:`segment_iris`, which aligns
    it with the scan, and :func:`check_iris`.
    """
    segmenter = call.session.segmenter("iris", call.params["model"], call.params["device"], call.progress)
    call.progress(Progress("Encoding the reference"))
    references, windows_file = _references(call), call.params.get("windows_file")
    if windows_file and len(references) == 1:
        spacing = segmenter.working_spacings(references)
        windows = segmenter.reference_windows(references[0], spacing)
        from dropiris.inference.reference_windows import save_reference
        from dropiris.inference.reverse_check import see

        kept, name = references[0].structures, references[0].volume.name
        task = segmenter.encode_windows(windows, kept, name, call.progress, call.cancel)
        save_reference(see(segmenter, task, windows, segmenter.atlas(references[0])), windows_file)
    else:
        task = segmenter.encode(references, progress=call.progress, cancel=call.cancel)
    call.cancel.raise_if_cancelled()
    task.save(Path(call.params["task_file"]))
    return {"task_file": call.params["task_file"], "structures": [s.name for s in task.structures]}


def segment_iris(call: Call) -> dict[str, Any]:
    """``model``, ``tasks``, ``strategy``, ``structures``, ``device`` and ``volume`` to the label map ``labels``.

    With ``windows``, what :func:`encode_iris` kept of references, these are aligned with the scan.
    """
    params = call.params
    segmenter = call.session.segmenter("iris", params["model"], params["device"], call.progress)
    tasks = [call.session.task(path, call.progress) for path in params["tasks"]]
    from dropiris.inference import segment_with_strategy
    from dropiris.inference.reference_windows import load_reference

    seen = [load_reference(path) for path in params["windows"]]
    labels = segment_with_strategy(
        segmenter,
        _volume(call),
        tasks,
        strategy=params["strategy"],
        structures=params["structures"],
        references=_references(call),
        progress=call.progress,
        cancel=call.cancel,
        atlases=[one.atlas for one in seen if one.atlas],
    )
    return {"labels": labels}


def check_dropgen(call: Call) -> dict[str, Any]:
    """``model``, ``device``, ``volume`` and its result ``labels`` to a :class:`dropiris.trust.TrustReport`."""
    segmenter = call.session.segmenter("dropgen", call.params["model"], call.params["device"], call.progress)
    from dropiris.inference.view_agreement import view_agreement

    return view_agreement(segmenter, _volume(call), _labels(call), call.progress, call.cancel).to_json()


def check_iris(call: Call) -> dict[str, Any]:
    """As :func:`check_dropgen`, with the ``tasks`` that were used and the ``windows`` files of their references."""
    segmenter = call.session.segmenter("iris", call.params["model"], call.params["device"], call.progress)
    from dropiris.inference import average
    from dropiris.inference.reference_windows import load_reference
    from dropiris.inference.reverse_check import reverse_check

    task = average([call.session.task(path, call.progress) for path in call.params["tasks"]])
    spacing = dict(zip(task.names, task.spacing.tolist(), strict=True))
    references = [load_reference(path) for path in call.params["windows"]]
    return reverse_check(
        segmenter, _volume(call), _labels(call), spacing, references, call.progress, call.cancel
    ).to_json()


def _volume(call: Call) -> Volume:
    volume = call.volumes.get("volume")
    if not isinstance(volume, Volume):
        raise InputError("The request holds no scan; choose one.")
    return volume


def _labels(call: Call) -> LabelMap:
    labels = call.volumes.get("labels")
    if not isinstance(labels, LabelMap):
        raise InputError("The request holds no result to check; segment the scan first.")
    return labels


def _references(call: Call) -> list[Reference]:
    return [value for value in call.volumes.values() if isinstance(value, Reference)]
