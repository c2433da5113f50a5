"""The machine in words: a time means nothing without it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

# What decides how fast bfloat16 is on a processor, best first, as Linux names it.
_FLAGS = {"amx_bf16": "AMX bfloat16", "avx512_bf16": "AVX-512 bfloat16", "avx512f": "AVX-512", "avx2": "AVX2"}


def describe_machine() -> dict[str, Any]:
    """Processor, cores, relevant instructions, GPU, versions, threads and what else was running."""
    import torch

    name, flags = _processor()
    found = [words for flag, words in _FLAGS.items() if flag in flags]
    gpu = "no GPU"
    if torch.cuda.is_available():
        gpu = f"{torch.cuda.get_device_name()} ({torch.cuda.get_device_properties(0).total_memory / 1e9:.0f} GB)"
    elif torch.backends.mps.is_available():
        gpu = "Apple GPU"
    return {
        "processor": name,
        "cores": _cores(),
        "instructions": ", ".join(found) or torch.backends.cpu.get_cpu_capability(),
        "gpu": gpu,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def in_words(machine: dict[str, Any]) -> str:
    """One line, and a warning when other programs take part of the processor."""
    m = machine
    cores = f"{m['cores']} core{'s' if m['cores'] > 1 else ''}"
    threads = f"{m['threads']} thread{'s' if m['threads'] > 1 else ''}"
    line = f"{m['processor']}, {cores} ({m['instructions']}), {m['gpu']}, torch {m['torch']}, {threads}"
    if m["load"] is not None and m["load"] > 0.5:
        line += f"\nOther programs were running (load {m['load']:g}): times are longer than on a quiet machine."
    return line


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> tuple[str, set[str]]:
    """Name and instruction flags; the flags only where the system lists them (Linux)."""
    about = Path("/proc/cpuinfo")
    name, flags = platform.processor() or platform.machine(), set()
    if about.is_file():
        for line in about.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key == "model name":
                name = value
            elif key in ("flags", "Features"):
                flags = set(value.split())
                break
    return name, flags
