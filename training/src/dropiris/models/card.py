"""The model card: what a model is, what it was made from and how its weights must be used.

``model.json`` of a bundle. Keys are MONAI Bundle's (``metadata.json``) wherever MONAI has one. This file is imported
inside Slicer: it needs neither torch nor pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dropiris.errors import ModelError
from dropiris.intensity import IntensityRule
from dropiris.models import card_checks as check
from dropiris.volume import Structure

# Raised when a card's meaning changes so that an older dropiris would use the weights wrongly.
FORMAT = 1
METHODS = ("dropgen", "iris", "extractor")
# A name is also a folder name on every system: no separators, no leading dot, no spaces.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_VERSION = re.compile(r"\d+(\.\d+){1,3}([-.+][A-Za-z0-9.]+)?")
_NOT_A_DEVICE = "Research. Not a medical device: check every result before use."


@dataclass(frozen=True)
class ModelCard:
    """Everything about a model but its weights.

    Attributes
    ----------
    name : str
        Unique short name, also the bundle's folder name ("brain-any-contrast").
    version : str
        Of this model ("1.0.0").
    method : {"dropgen", "iris", "extractor"}
        An "extractor" segments nothing: models share its features, see :mod:`dropiris.models.shared_features`.
    window : tuple of 3 int
        Sliding window in voxels of the model's grid, along R, A, S.
    network : dict
        ``{"name": "UNet", ...constructor arguments}`` for ``dropiris.networks.build_network``.
    intensity : dict
        ``IntensityRule.to_json()``; the rule itself is :attr:`intensity_rule`.
    title, description, licence, authors, citation : str
        As shown to the user.
    anatomy, modality : list of str
        Body regions; DICOM modalities or "any".
    spacing : tuple of 3 float or None
        Voxel size of the model's grid in mm; None follows the structure (Iris).
    mirrored : bool
        DropGen: every window is also looked at mirrored, left and right exchanged, and the scores are averaged.
    structures : tuple of Structure
        What the labels mean; empty for Iris unless it has a memory bank.
    extractor : dict or None
        Stable features beside the image: ``{"name": "AnatomixUNet" | "MIND-SSC", "layer": ..., ...}``; with
        ``"bundle": {"name", "version", "sha256"}`` their weights are that bundle's.
    training : dict
        Free form, as the trainer wrote it: ``datasets`` with licence and source, ``settings``, the code's version
        (``dropiris``), ``date`` (ISO), ``steps`` and ``hardware`` (a plain sentence).
    scores : list of dict
        ``{"dataset", "structure", "metric", "value", "cases"}``, measured; ``interval: [low, high]`` where enough
        cases were scored for a 95 % bootstrap interval, ``note`` where something needs saying.
    failures : list of dict
        ``{"text", "picture"}``: what it is known to get wrong; ``picture``, which may be left out, is the name of a
        PNG file in the bundle.
    trust : dict
        How the number of :mod:`dropiris.trust` was calibrated: ``{"threshold", "rank_correlation", ...}``, measured
        by ``training/benchmarks/trust_calibration.py``; {} for a model that never was.
    sha256 : dict
        File name to digest of the bundle's other files; written by ``write_bundle``.
    metadata : dict
        Further keys of ``model.json``: MONAI's (changelog, copyright, data_source, ...) and any unknown ones, kept
        as they came.
    """

    name: str
    version: str
    method: str
    window: tuple[int, int, int]
    network: dict[str, Any]
    intensity: dict[str, Any] = field(default_factory=lambda: IntensityRule().to_json())
    title: str = ""
    description: str = ""
    licence: str = ""
    authors: str = ""
    citation: str = ""
    anatomy: list[str] = field(default_factory=list)
    modality: list[str] = field(default_factory=list)
    spacing: tuple[float, float, float] | None = None
    mirrored: bool = False
    structures: tuple[Structure, ...] = ()
    extractor: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    scores: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    trust: dict[str, Any] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        who = f"The model card {self.name!r}" if isinstance(self.name, str) and self.name else "The model card"
        put = self._put
        put("name", check.pattern(who, "name", self.name, _NAME, "letters, digits, '.', '_' and '-'"))
        put("version", check.pattern(who, "version", self.version, _VERSION, "a version such as 1.0.0"))
        if self.method not in METHODS:
            raise ModelError(f'{who} has method {self.method!r}; it must be "dropgen", "iris" or "extractor".')
        put("window", check.window(who, self.window))
        put("spacing", check.spacing(who, self.spacing, self.method))
        put("mirrored", check.mirrored(who, self.mirrored, self.method))
        put("structures", check.structures(who, self.structures, self.method))
        put("network", check.built_from(who, "network", self.network))
        if self.extractor is not None:
            put("extractor", check.extractor(who, self.extractor, self.method, _NAME))
        for key in ("title", "description", "licence", "authors", "citation"):
            put(key, check.text(who, key, getattr(self, key)))
        put("title", self.title or self.name)
        for key in ("anatomy", "modality"):
            put(key, check.texts(who, key, getattr(self, key)))
        for key in ("training", "metadata"):
            put(key, check.mapping(who, key, getattr(self, key)))
        put("intensity", check.intensity(who, self.intensity))
        put("scores", check.scores(who, self.scores))
        put("failures", check.failures(who, self.failures))
        put("trust", check.trust(who, self.trust))
        put("sha256", check.digests(who, self.sha256))

    def _put(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)

    @property
    def kind(self) -> str:
        """What a user calls it: "dropgen", "iris" or "features"."""
        return "features" if self.method == "extractor" else self.method

    @property
    def intensity_rule(self) -> IntensityRule:
        return IntensityRule.from_json(self.intensity)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelCard:
        """Read the content of ``model.json``; every field that cannot be used is a :class:`ModelError`."""
        if not isinstance(data, Mapping):
            raise ModelError("The model card is not a JSON object; export the model again.")
        who = f"The model card {data.get('name', '')!r}"
        if not isinstance(data.get("format", FORMAT), int) or data.get("format", FORMAT) > FORMAT:
            raise ModelError(f"{who} has format {data['format']!r}, newer than this program; update SegmentAnyScan.")
        for key in ("name", "version", "method", "window", "network"):
            if key not in data:
                raise ModelError(f"{who} lacks {key!r}; export the model again.")
        own = {f.name for f in fields(cls)} - {"metadata", "structures"}
        known = {key: data[key] for key in own if key in data}
        known["structures"] = tuple(check.structure(who, item) for item in check.items(who, "structures", data))
        rest = {key: value for key, value in data.items() if key not in own and key not in _DERIVED}
        return cls(**known, metadata=rest)

    def to_json(self) -> dict[str, Any]:
        """The content of ``model.json``: plain JSON types, own keys first, then MONAI's."""
        data: dict[str, Any] = {"format": FORMAT}
        for item in fields(self):
            if item.name not in ("metadata", "structures"):
                value = getattr(self, item.name)
                data[item.name] = list(value) if isinstance(value, tuple) else value
        data["structures"] = [
            {"label": s.label, "name": s.name, "color": list(s.color), "terminology": s.terminology}
            for s in self.structures
        ]
        return check.plain({**data, **self._monai(), **self.metadata})

    def _monai(self) -> dict[str, Any]:
        """MONAI Bundle keys that follow from this card; :attr:`metadata` overrides all but the derived ones."""
        shape = list(self.window)
        channels = {"0": "background", **{str(s.label): s.name for s in self.structures}}
        image = {"type": "image", "format": "magnitude", "modality": ", ".join(self.modality) or "any"}
        features = int(self.network.get("base_width", 16)) if self.method == "extractor" else 0
        does = "stable features" if features else "3D segmentation"
        mean = [s["value"] for s in self.scores if s["metric"].lower() == "dice"]
        return {
            "task": f"{self.title}: {does}",
            "changelog": {self.version: "first release"},
            "required_packages_version": {},
            "copyright": self.licence,
            "data_source": str(self.training.get("data", "")),
            "data_type": "nifti",
            "image_classes": "single-channel 3D scan",
            "label_classes": ", ".join(f"{value}: {name}" for value, name in channels.items()),
            "pred_classes": ", ".join(f"{value}: {name}" for value, name in channels.items()),
            "eval_metrics": {"mean_dice": sum(mean) / len(mean)} if mean else {},
            "intended_use": _NOT_A_DEVICE,
            "references": [self.citation] if self.citation else [],
            "network_data_format": {
                "inputs": {
                    "image": {
                        **image,
                        "num_channels": 1,
                        "spatial_shape": shape,
                        "dtype": "float32",
                        "is_patch_data": True,
                        "channel_def": {"0": "image"},
                    }
                },
                "outputs": {
                    "pred": {
                        "type": "feature" if features else "image",
                        "format": "features" if features else "segmentation",
                        "num_channels": features or len(channels),
                        "spatial_shape": shape,
                        "dtype": "float32",
                        "is_patch_data": True,
                        "channel_def": {} if features else channels,
                    }
                },
            },
        }


# Written for MONAI's readers, computed from our own keys: never read back, so the two cannot disagree.
_DERIVED = {"format", "structures", "label_classes", "pred_classes", "network_data_format", "eval_metrics"}
