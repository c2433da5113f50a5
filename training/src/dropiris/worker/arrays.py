"""Volumes and label maps to ``.npy`` files in the private folder, and back.

Only file names travel in messages. Files are written with plain writes, never through a memory map: on a
full disk a mapped write ends the whole process with SIGBUS, a plain one fails with an error we can explain.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.errors import DropIrisError, WorkerError
from dropiris.volume import LabelMap, Reference, Structure, Volume

# Written piece by piece, so that a cancel is noticed between pieces (16 MiB: about 10 ms).
PIECE = 16 * 1024 * 1024

# np.save pads headers to 64 bytes; 3D arrays need 128.
_LARGEST_HEADER = 4096

Carried = Volume | LabelMap | Reference


def send(value: Carried, folder: Path, stem: str, check: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Write the arrays of ``value`` as ``<stem>*.npy`` into ``folder``; return the description to send.

    ``check`` is called between pieces of 16 MiB and may raise to stop.
    """
    if isinstance(value, Reference):
        layers = [send(layer, folder, f"{stem}-{n}", check) for n, layer in enumerate(value.layers)]
        return {"kind": "reference", "volume": send(value.volume, folder, f"{stem}-v", check), "layers": layers}
    path = folder / f"{stem}.npy"
    _write(value.array, path, check)
    description = {
        "file": path.name,
        "shape": list(value.shape),
        "dtype": value.array.dtype.str,
        "affine": np.asarray(value.affine).tolist(),
        "name": value.name,
    }
    if isinstance(value, Volume):
        return {"kind": "volume", "modality": value.modality, **description}
    structures = [[s.label, s.name, list(map(float, s.color)), s.terminology] for s in value.structures]
    return {"kind": "labels", "structures": structures, **description}


def receive(description: Any, folder: Path, mapped: bool) -> Carried:
    """Undo :func:`send`.

    Parameters
    ----------
    mapped : bool
        True (worker): arrays are read-only memory maps, nothing is read before it is needed. False (client):
        arrays are read into memory, so that a file truncated later cannot end the program with SIGBUS.
    """
    try:
        if description["kind"] == "reference":
            volume = receive(description["volume"], folder, mapped)
            layers = [receive(layer, folder, mapped) for layer in description["layers"]]
            assert isinstance(volume, Volume)
            return Reference(volume, tuple(layer for layer in layers if isinstance(layer, LabelMap)))
        array = _read(description, folder, mapped)
        affine = np.array(description["affine"], dtype=np.float64)
        if description["kind"] == "volume":
            return Volume(array, affine, description["name"], description["modality"])
        structures = tuple(Structure(int(n), str(s), tuple(c), str(t)) for n, s, c, t in description["structures"])
        return LabelMap(array, affine, structures, description["name"])
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        if isinstance(error, DropIrisError):
            raise
        raise WorkerError(f"The description of an array between program and worker is not usable: {error}.") from error


def _write(array: np.ndarray, path: Path, check: Callable[[], None]) -> None:
    """Write ``array`` as .npy in the order it has in memory: a transposed view is written without a copy."""
    fortran = array.ndim > 1 and abs(array.strides[0]) < abs(array.strides[-1])
    source = array.T if fortran else array
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": fortran, "shape": array.shape}
    temporary = path.with_name(path.name + ".part")
    try:
        with open(temporary, "wb", buffering=0) as file:
            np.lib.format.write_array_header_1_0(file, header)
            rows = max(1, PIECE // max(1, source[:1].nbytes))
            for start in range(0, source.shape[0], rows):
                check()
                piece = np.ascontiguousarray(source[start : start + rows]).reshape(-1).view(np.uint8)
                rest = memoryview(piece)  # type: ignore[arg-type]
                while rest:
                    rest = rest[file.write(rest) :]
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WorkerError(_why_not_written(error, path.parent, array.nbytes)) from error


def _why_not_written(error: OSError, folder: Path, size: int) -> str:
    if error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return f"The temporary folder {folder} is full ({size / 2**20:.0f} MiB needed); free some space and try again."
    return f"The temporary folder {folder} cannot be written ({error.strerror}); check that it exists and is yours."


def _read(description: dict[str, Any], folder: Path, mapped: bool) -> np.ndarray:
    name, shape, dtype = description["file"], tuple(description["shape"]), np.dtype(description["dtype"])
    if Path(name).name != name or not name.endswith(".npy"):
        raise WorkerError(f"The worker refuses the file name {name!r}; only names inside its own folder are allowed.")
    path = folder / name
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    try:
        if not 0 <= path.stat().st_size - size <= _LARGEST_HEADER:
            raise ValueError("another size than announced")
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        if array.shape != shape or array.dtype != dtype:
            raise ValueError("another array than announced")
    except (OSError, ValueError, EOFError) as error:
        reason = "is damaged" if path.exists() else "is missing"
        raise WorkerError(f"The array file {path} {reason}; check the disk's free space and try again.") from error
    # A plain ndarray: a map stays open as its base and closes with the last view.
    return np.asarray(array)
