"""Where a network runs and at which precision, found out by running a tiny real 3D convolution there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import torch
from torch.nn import functional as F

from dropiris.errors import DeviceError

# bfloat16 has to be clearly faster than float32 to be worth its 8 bits of precision.
_WORTH_IT = 1.2


@dataclass(frozen=True)
class Device:
    """A device that was tried and works.

    Attributes
    ----------
    torch_device : str
        "cuda", "cuda:1", "mps" or "cpu".
    dtype : str
        "bfloat16", "float16" or "float32".
    name : str
        As a person would call it ("NVIDIA H200", "CPU, 2 threads").
    why : str
        One line: why this device and this precision.
    """

    torch_device: str
    dtype: str
    name: str
    why: str

    @property
    def torch_dtype(self) -> torch.dtype:
        return {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[self.dtype]

    def __str__(self) -> str:
        return f"{self.name}, {self.dtype}"


def choose_device(wish: str = "auto") -> Device:
    """The best device that really runs a 3D convolution: CUDA, then Apple's GPU, then the processor.

    Parameters
    ----------
    wish : {"auto", "cuda", "cuda:N", "mps", "cpu"}

    Raises
    ------
    DeviceError
        If the device asked for by name does not work here, with the reason.
    """
    wish = wish.strip().lower()
    kind = wish.split(":")[0]
    if kind not in ("auto", "cuda", "mps", "cpu"):
        raise DeviceError(f"Unknown device {wish!r}; choose auto, cuda, mps or cpu.")
    if kind == "cpu":
        return _cpu("asked for")
    reasons = []
    for candidate in ("cuda", "mps") if wish == "auto" else (wish,):
        found = _accelerator(candidate)
        if isinstance(found, Device):
            return found
        reasons.append(found)
    if wish != "auto":
        raise DeviceError(f"The device {wish} cannot be used ({reasons[0]}); choose auto or cpu.")
    return _cpu("; ".join(reasons))


@cache
def _accelerator(name: str) -> Device | str:
    """The device, or why it cannot be used."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        return "no CUDA GPU that PyTorch can use"
    if name.startswith("mps") and not torch.backends.mps.is_available():
        return "no Apple GPU"
    dtypes = ["float16", "float32"]
    if name.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False):
        dtypes.insert(0, "bfloat16")
    problem = ""
    for dtype in dtypes:
        problem = probe(name, dtype)
        if not problem:
            called = torch.cuda.get_device_name(name) if name.startswith("cuda") else "Apple GPU"
            return Device(name, dtype, called, f"a 3D convolution ran on it in {dtype}")
    return f"{name}: {problem}"


def probe(torch_device: str, dtype: str) -> str:
    """Run a small 3D convolution and compare it with float32 on the processor: "" when right, else what went wrong."""
    try:
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, 4, 8, 8, 8, generator=generator)
        weight = torch.randn(4, 4, 3, 3, 3, generator=generator)
        number = getattr(torch, dtype)
        there = F.conv3d(image.to(torch_device, number), weight.to(torch_device, number)).float().cpu()
    except Exception as problem:  # drivers fail in many ways, and each of them means "not this device"
        return str(problem).splitlines()[0] if str(problem) else type(problem).__name__
    return "" if torch.allclose(there, F.conv3d(image, weight), atol=0.5, rtol=0.1) else "wrong results"


@cache
def _cpu_precision() -> tuple[str, str]:
    """bfloat16 where the processor has instructions for it: measured, since no portable query tells.

    AMX and AVX512-BF16 give 1.6 to 3 times; without them it is emulated and up to 10 times slower.
    """
    if probe("cpu", "bfloat16"):
        return "float32", "bfloat16 does not run here"
    plain, half = (_convolution_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    if plain > _WORTH_IT * half:
        return "bfloat16", f"bfloat16 is {plain / half:.1f} times as fast as float32 here"
    return "float32", "bfloat16 is no faster here"


@torch.inference_mode()
def _convolution_seconds(dtype: torch.dtype) -> float:
    # smaller planes would time another float32 kernel than networks run: PyTorch has one for tiny inputs
    image, weight = torch.zeros(1, 16, 40, 40, 40), torch.zeros(16, 16, 3, 3, 3)
    layout = torch.channels_last_3d
    image, weight = (x.to(dtype).to(memory_format=layout) for x in (image, weight))
    best = float("inf")
    for _ in range(4):  # the first builds the kernel; the fastest is the least disturbed
        start = time.perf_counter()
        F.conv3d(image, weight, padding=1)
        best = min(best, time.perf_counter() - start)
    return best


def _cpu(reason: str) -> Device:
    dtype, why = _cpu_precision()
    threads = torch.get_num_threads()
    return Device("cpu", dtype, f"CPU, {threads} thread{'s' if threads > 1 else ''}", f"{reason}; {why}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that the device's (or the computer's) memory is too small."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        sign in text for sign in ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
    )


def free_cache(torch_device: str) -> None:
    """Give memory that PyTorch keeps for later back to the device."""
    if torch_device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif torch_device.startswith("mps"):
        torch.mps.empty_cache()
