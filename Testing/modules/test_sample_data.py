"""One click loads something to try: real nodes, right geometry, names that say phantom, no network."""

import socket
import sys
import types

import numpy as np
import pytest
from slicer_headless.module_bases import slicer_sources

from dropiris.errors import InputError
from dropiris.geometry import closest_axes
from dropiris.mrml import reference_from_nodes, volume_from_node
from dropiris.terminology import parse_terminology_entry


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("sample data must not go to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_dropgensegs_sample_is_what_the_shipped_model_was_made_for(slicer):
    from dropiris.panels.sample_data import load_sample, sample_for

    loaded = load_sample(sample_for("dropgen").key)
    assert len(loaded.scans) == 1 and loaded.references == ()
    volume = volume_from_node(loaded.scans[0])
    assert volume.shape == (38, 54, 38) and volume.spacing == pytest.approx((1, 1, 1)) and volume.modality == "MR"
    assert volume.name == "Phantom head A, T1, right hippocampus"
    assert "phantom" in loaded.scans[0].GetDescription()
    assert loaded.scans[0].GetDisplayNode() is not None


def test_iris_sample_is_a_labelled_scan_and_another_patient(slicer):
    from dropiris.panels.sample_data import load_sample, sample_for

    loaded = load_sample(sample_for("iris").key)
    (volume, segmentation), (first, query) = loaded.references[0], loaded.scans
    assert volume is first and query.GetName() == "Phantom torso A, T2"
    reference = reference_from_nodes(volume, segmentation)
    assert [s.name for s in reference.structures] == ["liver", "spleen", "right kidney", "left kidney"]
    for structure in reference.structures:
        codes = parse_terminology_entry(structure.terminology)
        assert codes is not None, f"{structure.name} has no code"
        centre = np.argwhere(reference.mask(structure.name)).mean(axis=0)
        right = (reference.volume.affine @ [*centre, 1])[0]
        assert (right > 0) == (structure.name in ("liver", "right kidney")), structure.name
    oblique = reference.volume.affine
    assert closest_axes(oblique)[0] == (0, 1, 2) and abs(oblique[0, 1]) > 0.1


def test_a_second_click_gets_names_of_its_own_and_an_unknown_sample_is_named(slicer):
    from dropiris.panels.sample_data import load_sample

    first, second = load_sample("hippocampus").scans[0], load_sample("hippocampus").scans[0]
    assert first.GetName() != second.GetName() and second.GetName().startswith(first.GetName())
    with pytest.raises(InputError, match="choose among: hippocampus, abdomen, torso, head"):
        load_sample("leg")


@pytest.fixture
def sample_data_module(slicer, monkeypatch):
    """Slicer's own SampleData module with a source checkout, else a stand-in of its registration."""
    module = types.ModuleType("SampleData")
    sources = slicer_sources()
    if sources is not None:
        path = sources.parents[2] / "Modules" / "Scripted" / "SampleData" / "SampleData.py"
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    else:

        class SampleDataLogic:
            """Stand-in: keeps what was registered, as the real one does."""

            registered = []  # noqa: RUF012

            @classmethod
            def registerCustomSampleDataSource(cls, category, **source):
                cls.registered.append((category, types.SimpleNamespace(**source)))

            @classmethod
            def sampleDataSourcesByCategory(cls, category):
                return [source for name, source in cls.registered if name == category]

        module.SampleDataLogic = SampleDataLogic
    monkeypatch.setitem(sys.modules, "SampleData", module)
    monkeypatch.delattr(slicer.modules, "sampleDataSources", raising=False)
    return module


def test_samples_are_registered_once_and_a_click_loads_them(slicer, sample_data_module):
    from dropiris.panels.sample_data import CATEGORY, register_samples

    register_samples()
    register_samples()
    sources = sample_data_module.SampleDataLogic.sampleDataSourcesByCategory(CATEGORY)
    assert [source.sampleName for source in sources] == ["hippocampus", "abdomen", "torso", "head"]
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = sources[0].customDownloader(sources[0])
    assert [node.GetName() for node in nodes] == ["Phantom head A, T1, right hippocampus"]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == before + 1


def open_with_sample(open_panel, name, method):
    from dropiris.panels.threshold_client import ThresholdClient, ThresholdModels
    from dropiris.volume import Structure

    structures = (Structure(1, "liver"),)
    widget = getattr(__import__(name), f"{name}Widget")
    panel = open_panel(widget, ThresholdClient(structures), ThresholdModels("steps", method, structures))
    panel.ui.sampleButton.click()
    assert "nobody's anatomy" in panel.ui.statusLabel.text
    return panel


def test_one_click_in_dropgensegs_help_makes_it_ready_to_segment(open_panel):
    panel = open_with_sample(open_panel, "DropGenSeg", "dropgen")
    assert panel.parameters.inputVolume.GetName().startswith("Phantom head A")
    assert panel.ui.segmentButton.enabled


def test_the_sample_chooses_the_model_it_was_made_for(open_panel):
    """Not the first of the list, which knows whole brains and would find one in a crop."""
    from dropiris.models.catalogue import Catalogue
    from dropiris.panels.sample_data import sample_for
    from dropiris.panels.threshold_client import ThresholdClient, ThresholdModels
    from dropiris.volume import Structure

    name, structures = sample_for("dropgen").model, (Structure(1, "liver"),)
    assert Catalogue().find(name).card.method == "dropgen"
    widget = __import__("DropGenSeg").DropGenSegWidget
    panel = open_panel(widget, ThresholdClient(structures), ThresholdModels(name, "dropgen", structures))
    assert panel.parameters.model != name
    panel.ui.sampleButton.click()
    assert panel.parameters.model == name


def test_one_click_in_irisicls_help_gives_it_a_reference_and_a_scan(open_panel):
    panel = open_with_sample(open_panel, "IrisICL", "iris")
    assert panel.parameters.inputVolume.GetName() == "Phantom torso A, T2"
    assert panel.ui.segmentButton.enabled and panel.ui.segmentButton.text == "Segment 4 structures"


def dice(ours, truth):
    return 2 * (ours & truth).sum() / (ours.sum() + truth.sum())


def test_the_shipped_models_find_something_in_their_samples():
    """What a first click shows has to look like a result; how good a model is on people is measured elsewhere."""
    pytest.importorskip("torch", reason="torch is not installed")
    from dropiris.inference import DropGenSegmenter, IrisSegmenter
    from dropiris.models.catalogue import Catalogue
    from dropiris.panels.sample_data import samples

    (crop, _labelled), *_ = samples()[0].scans()
    found = DropGenSegmenter(Catalogue().find("hippocampus-t1"), "cpu").segment(crop.volume)
    assert dice(found.array > 0, crop.mask("right hippocampus")) > 0.55
    (reference, _), (query, _) = samples()[1].scans()
    segmenter = IrisSegmenter(Catalogue().find("iris-general"), "cpu")
    labels = segmenter.segment(query.volume, segmenter.encode([reference]))
    by_name = {s.name: dice(labels.mask(s), query.mask(s.name)) for s in labels.structures}
    assert by_name["liver"] > 0.7 and by_name["right kidney"] > 0.6, by_name
