"""What every reader shares: libraries that may be missing, and files that may be damaged."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.errors import InputError


def library(module: str, package: str, what: str) -> Any:
    """Import a reading library when it is first needed, or say which package to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"{what} files need the Python package {package}; install it with: pip install {package}"
        ) from (error)


@contextmanager
def reading(path: Path, what: str, *library_errors: type[Exception]) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into one sentence that names the file."""
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path.name} cannot be opened (permission denied); check its access rights.") from error
    except MemoryError as error:
        raise InputError(f"{path.name} does not fit into memory; crop it or use a machine with more memory.") from error
    except (OSError, EOFError, ValueError, KeyError, IndexError, zlib.error, *library_errors) as error:  # type: ignore[misc]
        if not path.is_dir() and path.stat().st_size == 0:
            raise InputError(f"{path.name} is an empty file; copy or export it again.") from error
        raise InputError(f"{path.name} is damaged, cut short or not {what}; copy or export it again.") from error


def scalar_3d(array: np.ndarray, name: str) -> np.ndarray:
    """Return real (I, J, K) intensities in the machine's byte order, or refuse colour, 2D and 4D in one sentence."""
    if array.dtype.names or array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds colour or complex voxels; give a scan with one real number per voxel.")
    while array.ndim > 3 and array.shape[-1] == 1:  # one time point
        array = array[..., 0]
    if array.ndim > 3 and array.size:
        extra = " x ".join(str(n) for n in array.shape[3:])
        raise InputError(f"{name} is {array.ndim}D ({extra} volumes in one file); export a single 3D volume.")
    if array.size == 0:
        raise InputError(f"{name} is empty (shape {array.shape}); check the file.")
    if array.ndim < 3:
        raise InputError(f"{name} is a {array.ndim}D image; give a 3D volume.")
    return in_native_order(array)


def in_native_order(array: np.ndarray) -> np.ndarray:
    """Bytes in the machine's own order, which torch and VTK insist on."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
