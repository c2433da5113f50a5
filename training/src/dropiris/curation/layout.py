"""Which files a dataset in nnU-Net's raw layout holds, and which are missing or out of place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dropiris.curation.dataset_table import DatasetTable
from dropiris.curation.finding import Finding
from dropiris.references.finding import listed

# Endings of volumes, the longest first: what has another one (a table, a checksum) is left alone.
_VOLUMES = (".seg.nrrd", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".npz", ".tiff", ".tif", ".png")


@dataclass(frozen=True)
class CaseFiles:
    """One case: its channels (number to file) and its label map; either may be missing."""

    dataset: str
    split: str
    name: str
    channels: Mapping[int, Path] = field(default_factory=dict)
    labels: Path | None = None


def find_cases(folder: Path, table: DatasetTable) -> tuple[list[CaseFiles], list[Finding]]:
    """Every case of every ``images*``/``labels*`` pair of folders, and what is missing."""
    found: list[Finding] = []
    splits = sorted(
        {path.name[6:] for path in folder.iterdir() if path.is_dir() and path.name.startswith(("images", "labels"))},
        key=lambda split: (split != "Tr", split),
    )
    cases: list[CaseFiles] = []
    for split in splits:
        cases += _split(folder, split, table, found)
    if not cases:
        found.append(
            Finding("error", "layout", "There is no case in imagesTr or labelsTr; lay it out as nnU-Net.", folder.name)
        )
    training = sum(case.split == "Tr" for case in cases)
    if table.training_cases is not None and table.training_cases != training:
        found.append(
            Finding(
                "error",
                "layout",
                f"numTraining is {table.training_cases}, but {training} training cases are here; correct the number or "
                "find the files.",
                folder.name,
            )
        )
    names: dict[str, list[str]] = {}
    for case in cases:
        names.setdefault(case.name, []).append(case.split)
    for name, where in names.items():
        if len(where) > 1:
            sentence = f"The name {name} stands in {listed(where)}; keep the case in one split or rename one."
            found.append(Finding("warning", "layout", sentence, folder.name, where[0], name))
    for key, listed_cases in (
        ("partially_labelled", table.partially_labelled),
        ("model_output_labels", table.model_output),
    ):
        unknown = [name for name in listed_cases if name not in names]
        if unknown:
            sentence = f"{key} names {listed(unknown)}, which is no case here; correct the name."
            found.append(Finding("error", "partially labelled", sentence, folder.name))
    return cases, found


def _split(folder: Path, split: str, table: DatasetTable, found: list[Finding]) -> list[CaseFiles]:
    def say(severity: str, sentence: str, case: str = "") -> None:
        found.append(Finding(severity, "layout", sentence, folder.name, split if case else "", case))

    images: dict[str, dict[int, Path]] = {}
    for path in _volumes(folder / f"images{split}", table.ending, say):
        match = re.fullmatch(r"(.+)_(\d{4})", path.name[: -len(table.ending)])
        if match:
            images.setdefault(match[1], {})[int(match[2])] = path
        else:
            say("error", f"images{split}/{path.name} has no channel number; name it CASE_0000{table.ending}.")
    labels = {path.name[: -len(table.ending)]: path for path in _volumes(folder / f"labels{split}", table.ending, say)}
    has_images = (folder / f"images{split}").is_dir()
    if labels and not has_images:
        say(
            "warning",
            f"labels{split} has no images{split} beside it ({len(labels)} label maps): only synthetic images can be "
            "trained on; add the images if there are any.",
        )
    cases = []
    for name in sorted(images.keys() | labels.keys()):
        channels = images.get(name, {})
        if has_images and not channels:
            say("error", f"The image images{split}/{name}_0000{table.ending} is missing; add it.", name)
        elif channels:
            missing = sorted(set(table.channels) - set(channels))
            extra = sorted(set(channels) - set(table.channels))
            if missing:
                names = listed([f"{name}_{n:04d}{table.ending} ({table.channels[n]})" for n in missing])
                say("error", f"The channel {names} is missing; add it or remove the case.", name)
            if extra:
                say("error", f"dataset.json has no channel {listed([str(n) for n in extra])}; add it there.", name)
        if name not in labels and split != "Ts":
            say("error", f"The label map labels{split}/{name}{table.ending} is missing; add it.", name)
        elif name not in labels and labels:
            say("warning", f"labelsTs/{name}{table.ending} is missing, so {name} cannot be scored; add it.", name)
        cases.append(CaseFiles(folder.name, split, name, channels, labels.get(name)))
    return cases


def _volumes(folder: Path, ending: str, say: object) -> list[Path]:
    """Volumes with the dataset's ending; another ending is a finding."""
    assert callable(say)
    if not folder.is_dir():
        return []
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    others = [path for path in files if not path.name.endswith(ending) and path.name.lower().endswith(_VOLUMES)]
    if others:
        say(
            "error",
            f"{folder.name} holds {listed([path.name for path in others])}, but file_ending is {ending}: nnU-Net does "
            "not see them; convert them or correct file_ending.",
        )
    return [path for path in files if path.name.endswith(ending) and len(path.name) > len(ending)]
