"""``dropiris doctor``: what runs here, and what to do if it does not."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
import time
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from dropiris.cli.scans import DeviceChoice

# What each package is for, so a missing one can be explained.
_NEEDED = ("numpy", "scipy", "torch", "safetensors", "nibabel", "pynrrd", "pydicom")
_OPTIONAL = ("monai", "lightning-fabric", "pydantic", "slicer-core", "vtk")
# Slicer 5.10 brings numpy 2.0; everything older than these is untested.
_OLDEST_PYTHON = (3, 10)


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, whether it is good, what was found, what to do."""

    what: str
    good: bool
    found: str
    advice: str = ""


def doctor(
    device: Annotated[DeviceChoice, typer.Option("--device", help="Device to try.")] = DeviceChoice.auto,
    as_json: Annotated[bool, typer.Option("--json", help="For programs and bug reports.")] = False,
) -> None:
    findings = [*_versions(), *_device(device.value), *_models()]
    good = all(finding.good for finding in findings)
    if as_json:
        typer.echo(json.dumps({"good": good, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            typer.echo(f"{'ok ' if finding.good else 'BAD'}  {finding.what:<{width}}  {finding.found}")
            if finding.advice:
                typer.echo(f"     {'':<{width}}  -> {finding.advice}")
        typer.echo("Everything works." if good else "Something does not work; follow the arrows above.")
    raise typer.Exit(0 if good else 1)


def _versions() -> list[Finding]:
    from dropiris import __version__

    findings = [Finding("dropiris", True, __version__)]
    python = sys.version_info[:2] >= _OLDEST_PYTHON
    system = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    findings.append(Finding("Python", python, system, "" if python else "install Python 3.10 or newer."))
    for name in (*_NEEDED, *_OPTIONAL):
        try:
            findings.append(Finding(name, True, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            if name in _NEEDED:
                findings.append(Finding(name, False, "not installed", f"run `pip install {name}`."))
    return findings


def _device(wish: str) -> list[Finding]:
    """The device that would be chosen, and a real forward pass of a small network on it."""
    from dropiris.errors import DropIrisError

    try:
        import torch

        from dropiris.inference import choose_device
        from dropiris.networks import build_network

        device = choose_device(wish)
        findings = [Finding("Device", True, f"{device.name}, {device.dtype} ({device.why})")]
        spec = {"name": "UNet", "in_channels": 1, "out_channels": 2, "base_width": 8, "downsamplings": 3}
        network = build_network(spec).eval().to(device.torch_device)
        kind = torch.device(device.torch_device).type
        image = torch.rand(1, 1, 64, 64, 64, device=device.torch_device)
        dtype = getattr(torch, device.dtype)
        with torch.inference_mode(), torch.autocast(kind, dtype=dtype, enabled=dtype != torch.float32):
            start = time.perf_counter()
            answer = network(image).float().cpu()
            seconds = time.perf_counter() - start
        if answer.shape != (1, 2, 64, 64, 64) or not bool(torch.isfinite(answer).all()):
            advice = "run again with --device cpu; if that works, update the driver or torch."
            return [*findings, Finding("Forward pass", False, "the network's answer is not finite", advice)]
        return [*findings, Finding("Forward pass", True, f"64 x 64 x 64 voxels in {seconds:.2f} s")]
    except ImportError as problem:
        return [Finding("Device", False, f"{problem.name} cannot be imported", "run `pip install dropiris`.")]
    except DropIrisError as problem:
        return [Finding("Device", False, str(problem), "run again with --device cpu.")]
    except (RuntimeError, NotImplementedError, MemoryError) as problem:
        text = " ".join(str(problem).split())[:200]
        return [Finding("Forward pass", False, text, "run again with --device cpu; if that works, update the driver.")]


def _models() -> list[Finding]:
    from dropiris.errors import DropIrisError
    from dropiris.models.catalogue import Catalogue
    from dropiris.models.shared_features import missing_features

    catalogue = Catalogue()
    try:
        entries = [entry for entry in catalogue.list() if entry.folder]
    except DropIrisError as problem:
        return [Finding("Models", False, str(problem))]
    if not entries:
        advice = "import one with `dropiris models import FILE`."
        return [Finding("Models", True, f"none in {catalogue.shipped} or {catalogue.installed}", advice)]
    findings = []
    for entry in entries:
        version = entry.card.version if entry.card else ""
        advice = f"import it again, or remove it with `dropiris models remove {entry.name}`." if entry.problem else ""
        if entry.card and entry.folder and missing_features(entry.folder, entry.card):
            advice = "import the features with `dropiris models import FILE`."
        found = entry.problem or f"{version}, {entry.state}"
        kind = "Features" if entry.card and entry.card.kind == "features" else "Model"
        findings.append(Finding(f"{kind} {entry.name}", not entry.problem, found, advice))
    return findings
