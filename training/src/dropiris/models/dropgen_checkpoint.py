"""A ``best.pth`` of the authors' own DropGen code becomes a bundle.

Their training loop saves a dictionary with ``model_state_dict`` (the predictor alone) and ``args`` (every setting). The
extractor is another file, ``anatomix.pth``, whose last layer their loop feeds to the predictor (see docs of
:class:`dropiris.networks.AnatomixUNet`). Importing this file needs no torch.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dropiris.errors import ModelError
from dropiris.files.label_table import default_color
from dropiris.models.bundle import Bundle, write_bundle
from dropiris.models.card import ModelCard
from dropiris.terminology_table import known_structure
from dropiris.volume import Structure

ENDINGS = (".pth", ".pt", ".ckpt")
# Their datasets on CT are clipped to this range (C.1); whole scans of any other kind are scaled from their extremes.
_CT_WINDOW = (-1024.0, 1024.0)
_WHOLE_RANGE = (0.0, 100.0)
_CITATION = "Diaz et al., DropGen (MaskGen): domain generalization with stable representations"


def import_dropgen_checkpoint(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    name: str,
    extractor: str | os.PathLike[str] | None = None,
) -> Bundle:
    """Write a bundle from a checkpoint of the authors' code, read with ``weights_only=True``.

    Parameters
    ----------
    folder : path
        Where the bundle is written.
    name : str
        Of the model.
    extractor : path, optional
        For a model trained with method ``dropgen``; by default the ``anatomix.pth`` that lies beside ``path``.

    Raises
    ------
    ModelError
        Saying what the file lacks or what else is needed.
    """
    from dropiris.networks import AnatomixUNet, UNet
    from dropiris.networks.published_weights import read_published_weights

    path = Path(path)
    settings = _settings(path)
    predictor = read_published_weights(path)
    structures = _structures(path, settings)
    inputs, features = int(_setting(path, settings, "in_channels")), {}
    network: dict[str, Any] = {
        "name": "UNet",
        "in_channels": inputs,
        "out_channels": int(_setting(path, settings, "num_classes")),
        "base_width": int(_setting(path, settings, "base_filters")),
        "downsamplings": int(_setting(path, settings, "num_levels")),
    }
    _check_fit(path, UNet(**{key: value for key, value in network.items() if key != "name"}), predictor)
    spec: dict[str, Any] | None = None
    if inputs > 1:
        extractor = Path(extractor) if extractor is not None else path.with_name("anatomix.pth")
        if not extractor.is_file():
            raise ModelError(
                f"{path} was trained beside anatomix, and there is no {extractor}; put its weights there "
                "(model-weights/anatomix.pth of github.com/neel-dey/anatomix) and import again."
            )
        spec = {"name": "AnatomixUNet", "layer": "final", "base_width": int(settings.get("feature_dim", 16))}
        features = read_published_weights(extractor)
        _check_fit(extractor, AnatomixUNet(base_width=spec["base_width"], layer="final"), features)
    tensors = {f"predictor.{key}": value for key, value in predictor.items()}
    tensors |= {f"extractor.{key}": value for key, value in features.items()}
    return write_bundle(folder, _card(path, settings, name, network, spec, structures), tensors)


def name_of_checkpoint(path: str | os.PathLike[str]) -> str:
    """Of runs/NAME/best.pth the run's name, else the file's; characters that no name has become hyphens."""
    path = Path(path).absolute()
    stem = path.parent.name if path.stem in ("best", "latest") else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "imported"


def _settings(path: Path) -> dict[str, Any]:
    """``args`` of the checkpoint."""
    import torch

    if not path.is_file():
        raise ModelError(f"There is no file {path}; check the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:
        raise ModelError(f"{path} is not a plain PyTorch checkpoint; download or copy it again.") from problem
    settings = content.get("args") if isinstance(content, Mapping) else None
    if not isinstance(settings, Mapping) or "model_state_dict" not in content:
        raise ModelError(
            f"{path} is no checkpoint of DropGen's training code, which holds model_state_dict and args; "
            "import a bundle, or give best.pth."
        )
    if int(settings.get("dimension", 3)) != 3:
        raise ModelError(f"{path} holds a network for 2D images; only 3D ones can be imported.")
    return {**settings, "_score": content.get("best_metric"), "_step": content.get("step")}


def _setting(path: Path, settings: dict[str, Any], key: str) -> Any:
    if settings.get(key) is None:
        raise ModelError(f"The args of {path} lack {key}; import a checkpoint as DropGen's code writes it.")
    return settings[key]


def _structures(path: Path, settings: dict[str, Any]) -> tuple[Structure, ...]:
    """From ``class_mapping``: names to numbers, given as a dictionary or as its JSON."""
    mapping = _setting(path, settings, "class_mapping")
    try:
        mapping = json.loads(mapping) if isinstance(mapping, str) else dict(mapping)
        numbered = sorted((int(number), str(name)) for name, number in mapping.items() if int(number) > 0)
    except (ValueError, TypeError) as problem:
        raise ModelError(f"The class_mapping of {path} cannot be read ({problem}); it must name each class.") from None
    classes = int(_setting(path, settings, "num_classes"))
    if [number for number, _ in numbered] != list(range(1, classes)):
        raise ModelError(f"{path} has {classes} classes, but its class_mapping names {len(numbered) + 1}.")
    return tuple(_structure(number, name) for number, name in numbered)


def _structure(number: int, name: str) -> Structure:
    known = known_structure(name)
    return (
        Structure(number, name, known.color, known.entry) if known else Structure(number, name, default_color(number))
    )


def _check_fit(path: Path, network: Any, state: dict[str, Any]) -> None:
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as problem:
        first = str(problem).splitlines()[-1].strip().rstrip(".")
        raise ModelError(f"The weights of {path} do not fit the network of DropGen ({first}).") from None


def _card(
    path: Path,
    settings: dict[str, Any],
    name: str,
    network: dict[str, Any],
    extractor: dict[str, Any] | None,
    structures: tuple[Structure, ...],
) -> ModelCard:
    dataset, method = str(settings.get("dataset", "")), str(settings.get("method", ""))
    score, step = settings.get("_score"), settings.get("_step")
    plain = {key: value for key, value in settings.items() if isinstance(value, str | int | float | bool | list)}
    kept = {key: value for key, value in plain.items() if not key.endswith("_dir") and not key.startswith("_")}
    measured = {
        "dataset": f"{dataset or 'unnamed'} (validation of its training)",
        "structure": "mean",
        "metric": "Dice",
    }
    window = tuple(int(n) for n in _setting(path, settings, "crop_size"))
    spacing = tuple(float(n) for n in _setting(path, settings, "spacing"))
    return ModelCard(
        name=name,
        version="1.0.0",
        method="dropgen",
        window=window,  # type: ignore[arg-type]
        network=network,
        intensity={"scale": "unit", "percentiles": _WHOLE_RANGE, "ct_window": _CT_WINDOW},
        title=f"{dataset} ({method})" if dataset else name,
        description=f"Imported from {path.name} of DropGen's training code.",
        citation=_CITATION,
        spacing=spacing,  # type: ignore[arg-type]
        structures=structures,
        extractor=extractor,
        training={"settings": kept, "steps": step},
        scores=[{**measured, "value": float(score)}] if isinstance(score, int | float) and score > 0 else [],
    )
