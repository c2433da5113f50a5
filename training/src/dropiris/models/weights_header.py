"""The header of a ``.safetensors`` file, read and checked without torch.

Format: 8 bytes little-endian length, that many bytes of JSON, then the tensors' bytes without gaps.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropiris.errors import ModelError

BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
BYTES |= {"F32": 4, "I32": 4, "U32": 4, "F64": 8, "I64": 8, "U64": 8}
# The format's own bound; a random file read as a header asks for far more.
_LARGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class TensorInfo:
    """Type ("F16", "F32", ...) and shape of one stored tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


def read_weights_header(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Return (tensors by name, metadata) or raise :class:`ModelError`: the file is cut, damaged or something else."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise ValueError("no header")
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        tensors = {name: _check(entry) for name, entry in header.items()}
        spans = sorted(tuple(entry["data_offsets"]) for entry in header.values())
        expected = 0
        for start, stop in spans:
            if start != expected:
                raise ValueError("gaps")
            expected = stop
        if expected != size - 8 - length:
            raise ValueError("size")
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; copy or export the whole model folder again.") from None
    except OSError as problem:
        raise ModelError(f"{path} cannot be read ({problem.strerror}); check its permissions.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{path} is damaged or incomplete; copy, download or export the model again.") from None
    return tensors, metadata


def _check(entry: dict[str, Any]) -> TensorInfo:
    info = TensorInfo(entry["dtype"], tuple(entry["shape"]))
    start, stop = entry["data_offsets"]
    if stop - start != info.numbers * BYTES[info.dtype]:
        raise ValueError("a tensor's bytes do not match its shape")
    return info
