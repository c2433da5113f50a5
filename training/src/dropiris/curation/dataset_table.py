"""What ``dataset.json`` says, read so that a fault in one key does not hide the others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dropiris.curation.finding import Finding
from dropiris.references.finding import listed

# What nnU-Net v2 cannot do without.
REQUIRED = ("channel_names", "labels", "numTraining", "file_ending")
# Licences under which weights trained on the data may not be used by everyone.
_RESTRICTED = re.compile(r"\bN[CD]\b|non-?commercial|no.?derivatives", re.IGNORECASE)


@dataclass(frozen=True)
class DatasetTable:
    """``dataset.json`` of nnU-Net v2 with the keys this package adds.

    Attributes
    ----------
    labels : dict
        Structure name to value, background and the ignore label left out.
    regions : dict
        Name to the values it joins, where nnU-Net's regions are used.
    ignore : int or None
        nnU-Net's ignore label: voxels nobody annotated.
    channels : dict
        Channel number to name.
    ending : str
        Of every image and label map.
    partially_labelled : dict
        Case to the names that were annotated in it.
    model_output : tuple of str
        Cases whose labels a model made.
    """

    labels: dict[str, int] = field(default_factory=dict)
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ignore: int | None = None
    channels: dict[int, str] = field(default_factory=lambda: {0: ""})
    ending: str = ".nii.gz"
    modality: str = ""
    partially_labelled: dict[str, tuple[str, ...]] = field(default_factory=dict)
    model_output: tuple[str, ...] = ()
    training_cases: int | None = None

    @property
    def values(self) -> dict[int, str]:
        """Every value a label map may hold, to its name."""
        found = {value: name for name, value in self.labels.items()}
        for name, joined in self.regions.items():
            for value in joined:
                found.setdefault(value, f"part of {name}")
        if self.ignore is not None:
            found[self.ignore] = "ignore"
        found.pop(0, None)
        return found

    def says_ct(self, channel: int) -> bool:
        """Whether the channel, or else the whole dataset, is called CT and nothing beside it."""
        words = re.findall(r"[a-z0-9]+", (self.channels.get(channel) or self.modality).lower())
        return "ct" in words and not {"mr", "mri", "t1", "t2", "pet", "or"} & set(words)


def read_dataset_table(folder: Path) -> tuple[DatasetTable, list[Finding]]:
    """Return the table and what is wrong with the file; without a readable file the table is the default one."""
    path = folder / "dataset.json"
    found: list[Finding] = []

    def say(severity: str, topic: str, sentence: str) -> None:
        found.append(Finding(severity, topic, sentence, folder.name))

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as problem:
        reason = "is missing" if isinstance(problem, FileNotFoundError) else f"cannot be read ({problem})"
        say("error", "dataset.json", f"dataset.json {reason}; write one with {', '.join(REQUIRED)}.")
        return DatasetTable(), found
    missing = [key for key in REQUIRED if key not in data]
    if missing:
        say("error", "dataset.json", f"dataset.json lacks {listed(missing, 9)}, which nnU-Net needs; add it.")
    for key, why in (("licence", "nobody knows who may use the data"), ("source", "the data cannot be cited")):
        if not data.get(key) and not (key == "licence" and data.get("license")):
            say("warning", "licence and source", f"dataset.json names no {key}, so {why}; add the key {key!r}.")
    licence = str(data.get("licence") or data.get("license") or "")
    if _RESTRICTED.search(licence):
        say("note", "licence and source", f"The licence {licence} restricts use: do not ship weights trained on it.")
    if not re.fullmatch(r"Dataset\d{3}_\w+", folder.name):
        say("note", "dataset.json", f"nnU-Net asks for folder names such as Dataset001_{folder.name}; rename it.")
    labels, regions, ignore = _labels(data.get("labels", {}), data, say)
    table = DatasetTable(
        labels=labels,
        regions=regions,
        ignore=ignore,
        channels=_channels(data.get("channel_names", {}), say),
        ending=str(data.get("file_ending", ".nii.gz")),
        modality=str(data.get("modality", "")),
        partially_labelled=_partial(data.get("partially_labelled", {}), labels, say),
        model_output=tuple(map(str, data.get("model_output_labels", ()) or ())),
        training_cases=data["numTraining"] if isinstance(data.get("numTraining"), int) else None,
    )
    return table, found


def _labels(raw: Any, data: Mapping[str, Any], say: Any) -> tuple[dict[str, int], dict[str, Any], int | None]:
    labels: dict[str, int] = {}
    regions: dict[str, tuple[int, ...]] = {}
    if not isinstance(raw, Mapping):
        say("error", "dataset.json", "labels in dataset.json is no table of names and values; correct it.")
        return labels, regions, None
    if raw and all(str(key).isdigit() for key in raw):
        say("error", "dataset.json", "labels in dataset.json is from nnU-Net v1 (value: name); turn it round.")
        raw = {str(name): int(value) for value, name in raw.items()}
    for name, value in raw.items():
        if isinstance(value, list) and value and all(isinstance(one, int) for one in value):
            regions[str(name)] = tuple(value)
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
            labels[str(name)] = value
        else:
            say("error", "dataset.json", f"The label {name!r} has the value {value!r}; give a whole number.")
    by_value: dict[int, list[str]] = {}
    for name, value in labels.items():
        by_value.setdefault(value, []).append(name)
    for value, names in by_value.items():
        if len(names) > 1:
            say("error", "dataset.json", f"{listed(names)} share the value {value}; give each a value of its own.")
    if by_value.get(0) != ["background"]:
        say("error", "dataset.json", 'labels in dataset.json must hold "background": 0; correct it.')
    if regions and "regions_class_order" not in data:
        say("error", "dataset.json", "Regions need regions_class_order in dataset.json; add it.")
    ignore = labels.pop("ignore", None)
    values = {*by_value, *(one for joined in regions.values() for one in joined)}
    if ignore is not None and ignore != max(values):
        say("error", "dataset.json", f"The ignore label is {ignore}, but nnU-Net wants the highest value; renumber.")
    gaps = sorted(set(range(max(values, default=0) + 1)) - values)
    if gaps:
        say(
            "warning",
            "ids",
            f"{len(gaps)} values between 0 and {max(values)} name no label (the first is {gaps[0]}): nnU-Net refuses "
            "gaps; renumber the labels for it (dropiris trains with gaps).",
        )
    return {name: value for name, value in labels.items() if value != 0}, regions, ignore


def _channels(raw: Any, say: Any) -> dict[int, str]:
    if not isinstance(raw, Mapping) or not all(str(key).isdigit() for key in raw):
        say("error", "dataset.json", 'channel_names must be numbered as in {"0": "CT"}; correct it.')
        return {0: ""}
    channels = {int(key): str(name) for key, name in raw.items()}
    if sorted(channels) != list(range(len(channels))):
        say("error", "dataset.json", "channel_names must be numbered 0, 1, 2, ... without gaps; correct it.")
    return channels or {0: ""}


def _partial(raw: Any, labels: Mapping[str, int], say: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(raw, Mapping) or not all(isinstance(names, list) for names in raw.values()):
        say("error", "partially labelled", "partially_labelled must map cases to lists of names; correct it.")
        return {}
    for case, names in raw.items():
        unknown = [name for name in names if name not in labels]
        if unknown:
            say("error", "partially labelled", f"{case} lists {listed(unknown)}, which is no label; correct the name.")
    return {str(case): tuple(name for name in names if name in labels) for case, names in raw.items()}
