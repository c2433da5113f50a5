"""Something to try with one click, without the internet: phantoms, and what the modules call them in Sample Data.

Nothing is downloaded: the scans are generated here (:mod:`dropiris.phantom`), so there is no file to check a
checksum of. They say in their names that they are phantoms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from dropiris.errors import InputError
from dropiris.models.folders import shipped_folder
from dropiris.mrml import write_segments
from dropiris.phantom import CONTRASTS, PATIENTS, Grid, phantom
from dropiris.terminology_table import with_codes
from dropiris.volume import LabelMap, Reference

CATEGORY = "SegmentAnyScan"
# The crops the hippocampus model was made for: about 4 x 5 x 4 cm around one hippocampus, 1 mm.
_HIPPOCAMPUS = {"right": (25.0, -18.0, -15.0), "left": (-25.0, -18.0, -15.0)}
_CROP, _FINE = (19.0, 27.0, 19.0), (1.0, 1.0, 1.0)
_ORGANS = ("liver", "spleen", "right kidney", "left kidney")


@dataclass(frozen=True)
class LoadedSample:
    """What one click loaded.

    Attributes
    ----------
    scans : tuple of vtkMRMLScalarVolumeNode
        The last one is the scan to segment.
    references : tuple of (vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode)
        Labelled examples; none for DropGenSeg.
    model : str
        Name of the model that the sample was made for, "" where any will do.
    """

    scans: tuple[Any, ...]
    references: tuple[tuple[Any, Any], ...] = ()
    model: str = ""


@dataclass(frozen=True)
class Sample:
    """One entry of Sample Data.

    Attributes
    ----------
    key : str
        Its name for programs, and of its thumbnail.
    method : {"dropgen", "iris", ""}
        The module it is made for; "" is for either.
    scans : callable
        Gives what to load as (Reference, whether its labels are loaded too), the scan to segment last.
    model : str
        See :class:`LoadedSample`.
    """

    key: str
    method: str
    scans: Callable[[], Sequence[tuple[Reference, bool]]]
    model: str = ""

    @property
    def title(self) -> str:
        """As shown under the thumbnail."""
        return {
            "hippocampus": _("Phantom: hippocampus in T1\n(DropGenSeg)"),
            "abdomen": _("Phantom: abdominal MR, two patients\n(IrisICL)"),
            "torso": _("Phantom: torso, CT and T2"),
            "head": _("Phantom: head, T1 and T2"),
        }[self.key]


def samples() -> tuple[Sample, ...]:
    """Everything there is to try; the first of each method is what its panel offers."""
    return (
        Sample("hippocampus", "dropgen", _hippocampus, "hippocampus-t1"),
        Sample("abdomen", "iris", _abdomen),
        *(Sample(body, "", lambda body=body: _whole(body)) for body in CONTRASTS),  # type: ignore[misc]
    )


def sample_for(method: str) -> Sample:
    """What the panel of a method offers to try."""
    return next(sample for sample in samples() if sample.method == method)


def load_sample(key: str) -> LoadedSample:
    """Generate a sample and add it to the scene; takes up to a few seconds on this thread.

    Raises
    ------
    InputError
        There is no such sample.
    """
    sample = next((sample for sample in samples() if sample.key == key), None)
    if sample is None:
        known = ", ".join(sample.key for sample in samples())
        raise InputError(f"There is no sample {key!r}; choose among: {known}.")
    scans, references = [], []
    for reference, labelled in sample.scans():
        scans.append(_add_volume(reference))
        if labelled:
            references.append((scans[-1], _add_labels(reference.layers[0], scans[-1])))
    slicer.util.setSliceViewerLayers(background=scans[-1], fit=True)
    return LoadedSample(tuple(scans), tuple(references), sample.model)


def register_samples() -> None:
    """Offer every sample in Slicer's Sample Data module; called when Slicer has started, by both modules."""
    import SampleData  # type: ignore[import-not-found]

    icons = Path(shipped_folder()).parent / "SampleData"
    for sample in samples():
        if any(there.sampleName == sample.key for there in _registered(SampleData)):
            continue
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=sample.key,
            # Required by Sample Data, never asked for: the custom downloader takes its place.
            uris="",
            fileNames=f"{sample.key}.generated",
            nodeNames=sample.title,
            thumbnailFileName=str(icons / f"{sample.key}.png"),
            customDownloader=_on_click,
        )


def _registered(module: Any) -> list[Any]:
    return list(module.SampleDataLogic.sampleDataSourcesByCategory(CATEGORY))


def _on_click(source: Any) -> list[Any]:
    with slicer.util.tryWithErrorDisplay(_("The sample could not be loaded."), waitCursor=True):
        loaded = load_sample(source.sampleName)
        return [*loaded.scans, *(segmentation for _volume, segmentation in loaded.references)]
    return []


def _hippocampus() -> list[tuple[Reference, bool]]:
    grid = Grid.box(_HIPPOCAMPUS["right"], _CROP, _FINE)
    return [(_named(phantom("head", "A", "T1", grid), "Phantom head A, T1, right hippocampus"), False)]


def _abdomen() -> list[tuple[Reference, bool]]:
    other, example = (phantom("torso", patient, "T2") for patient in PATIENTS)
    return [(Reference(example.volume, (example.layers[0].keep(_ORGANS),)), True), (other, False)]


def _whole(body: str) -> list[tuple[Reference, bool]]:
    """Both patients in both contrasts; the labels lie on the first contrast's scan of each."""
    return [
        (phantom(body, patient, contrast), contrast == CONTRASTS[body][0])
        for patient in PATIENTS
        for contrast in CONTRASTS[body]
    ]


def _named(reference: Reference, name: str) -> Reference:
    return replace(reference, volume=replace(reference.volume, name=name))


def _add_volume(reference: Reference) -> Any:
    volume = reference.volume
    name = slicer.mrmlScene.GenerateUniqueName(volume.name) if _taken(volume.name) else volume.name
    node = slicer.util.addVolumeFromArray(volume.array.T, volume.affine, name)
    node.SetAttribute("DICOM.Modality", volume.modality)
    node.SetDescription(_("A generated phantom: nobody's anatomy."))
    return node


def _add_labels(labels: LabelMap, volume: Any) -> Any:
    coded = replace(labels, structures=with_codes(labels.structures))
    node = write_segments(coded, None, volume, "new", f"{volume.GetName()}, labels")
    node.SetDescription(_("Labels of a generated phantom."))
    return node


def _taken(name: str) -> bool:
    return slicer.mrmlScene.GetFirstNodeByName(name) is not None
