"""Both modules' own tests over slicer-core, and what their Logic promises beyond them."""

import os
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from slicer_headless.small_scenes import (
    OBLIQUE,
    RIGID,
    add_grid_transform,
    add_segmentation,
    add_transform,
    add_volume,
    scene_state,
    segment_id_of,
    segment_points,
    voxel_points,
)
from slicer_headless.soft_and_bone import chest

from dropiris.errors import Cancelled, DeviceError, InputError, ModelError
from dropiris.panels.threshold_client import ThresholdClient, ThresholdModels
from dropiris.terminology_table import CONTEXT
from dropiris.volume import Structure

ROOT = Path(__file__).resolve().parents[2]
STRUCTURES = (
    Structure(1, "soft", (0.8, 0.4, 0.3), "a~SCT^1^x~SCT^2^y~^^~b~^^~^^"),
    Structure(3, "bone", (1.0, 1.0, 0.5)),
)


@pytest.fixture
def dropgen(slicer):
    from DropGenSeg import DropGenSegLogic

    return DropGenSegLogic(ThresholdClient(STRUCTURES), ThresholdModels("steps", "dropgen", STRUCTURES))


@pytest.fixture
def reference(slicer):
    volume = add_volume(slicer, chest(), RIGID, "Example")
    return volume, add_segmentation(slicer, volume, {"soft": chest() == 150, "bone": chest() == 700}), None


@pytest.mark.parametrize("name", ["DropGenSeg", "IrisICL"])
def test_the_modules_own_test_class_passes(slicer, name):
    module = __import__(name)
    getattr(module, f"{name}Test")().runTest()


def run_python(program, **environment):
    paths = [ROOT / "Testing", ROOT / "DropGenSeg", ROOT / "IrisICL"]
    env = {k: v for k, v in os.environ.items() if k not in ("SLICER_SOURCE", "PYTHONPATH")} | environment
    env["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=120)


def test_modules_import_from_a_checkout_without_torch_a_gui_or_a_new_node():
    program = (
        "import sys, slicer_headless; slicer = slicer_headless.start(); n = slicer.mrmlScene.GetNumberOfNodes()\n"
        "import DropGenSeg, IrisICL\n"
        "assert n == slicer.mrmlScene.GetNumberOfNodes()\n"
        "heavy = {'torch', 'monai', 'safetensors', 'nibabel', 'pydantic'} & set(sys.modules); assert not heavy, heavy\n"
        "DropGenSeg.DropGenSegTest().runTest(); IrisICL.IrisICLTest().runTest()\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = run_python(program)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("SLICER_SOURCE" not in os.environ, reason="SLICER_SOURCE names no Slicer checkout")
def test_the_same_classes_run_on_slicers_own_python_classes():
    program = (
        "import slicer_headless.scene, slicer_headless as h; slicer = h.boot_scene()\n"
        "from slicer_headless.qt_standin import install_qt; install_qt(slicer); h.install_module_bases(slicer)\n"
        "import slicer.ScriptedLoadableModule as own; assert 'slicer_headless' not in own.__file__\n"
        "slicer.util.delayDisplay = lambda *a, **k: None\n"
        "import DropGenSeg, IrisICL; DropGenSeg.DropGenSegTest().runTest(); IrisICL.IrisICLTest().runTest()\n"
        "p = DropGenSeg.DropGenSegLogic().getParameterNode(); p.leftOut = ['a', 'b']\n"
        "assert list(DropGenSeg.DropGenSegLogic().getParameterNode().leftOut) == ['a', 'b']\n"
    )
    done = run_python(program, SLICER_SOURCE=os.environ["SLICER_SOURCE"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["DropGenSeg", "IrisICL"])
def test_samples_and_codes_are_offered_once_slicer_has_started(slicer, monkeypatch, name):
    """Not before: other modules, and their logics, need not exist while this one is loaded."""
    later, offered = [], []
    monkeypatch.setattr(slicer.app, "connect", lambda signal, slot: later.append((signal, slot)), raising=False)
    monkeypatch.setattr(f"{name}.register_samples", lambda: offered.append("samples"))
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    getattr(__import__(name), name)(types.SimpleNamespace())
    monkeypatch.setattr(slicer.modules, "terminologies", types.SimpleNamespace(logic=lambda: logic), raising=False)
    assert not logic.IsTerminologyContextLoaded(CONTEXT) and not offered
    for signal, slot in later:
        assert signal == "startupCompleted()"
        slot()
    assert logic.IsTerminologyContextLoaded(CONTEXT) and offered


def test_each_segment_says_which_model_made_it(slicer, scan, reference, dropgen, iris, monkeypatch):
    """As Slicer's DICOM export reads it; a Segment Algorithm Name has 64 characters at most."""
    entry, title = dropgen.models.default("dropgen"), "Soft tissue and bone, " * 5
    long = replace(entry, card=replace(entry.card, title=title))
    made = [iris.process(scan, [reference]), dropgen.process(scan)]
    monkeypatch.setattr(dropgen.models, "default", lambda method: long)
    segments = [node.GetSegmentation().GetNthSegment(1) for node in (*made, dropgen.process(scan))]
    names = [tag(segment, "DICOM.SegmentAlgorithmName") for segment in segments]
    assert names == ["Intensity steps 1.0", "Intensity steps 1.0", title[:60] + " 1.0"]
    assert {tag(segment, "DICOM.SegmentAlgorithmType") for segment in segments} == {"AUTOMATIC"}


def tag(segment, name):
    import vtk

    value = vtk.reference("")
    assert segment.GetTag(name, value), name
    return str(value)


def test_dropgen_result_lies_on_the_scan_under_its_transform(slicer, dropgen, scan):
    scan.SetAndObserveTransformNodeID(add_transform(slicer, RIGID).GetID())
    node = dropgen.process(scan)
    expected = voxel_points(chest() == 700, RIGID @ OBLIQUE)
    np.testing.assert_allclose(segment_points(slicer, node, segment_id_of(node, "bone")), expected, atol=1e-4)
    assert node.GetTransformNodeID() == scan.GetTransformNodeID()


def test_a_scan_moved_during_the_run_takes_its_result_along(slicer, dropgen, scan):
    run = dropgen.start(scan)
    scan.SetAndObserveTransformNodeID(add_transform(slicer, RIGID).GetID())
    node = run.wait()
    expected = voxel_points(chest() == 700, RIGID @ OBLIQUE)
    np.testing.assert_allclose(segment_points(slicer, node, segment_id_of(node, "bone")), expected, atol=1e-4)


def test_a_run_never_blocks_and_writes_only_at_its_end(slicer, dropgen, scan):
    before = scene_state(slicer)
    run = dropgen.start(scan, device="cpu")
    seen = []
    while not run.done:
        assert scene_state(slicer) == before
        seen += run.poll()
    assert [step.tile for step in seen] == [1, 2, 3, 4, 0] and seen[-1].stage == "Writing the segments"
    assert run.result().GetSegmentation().GetNumberOfSegments() == 2
    assert dropgen.client.devices == ["cpu"]


def test_iris_result_has_the_references_names_colours_and_codes(slicer, iris, scan, reference):
    source = reference[1].GetSegmentation()
    tag = slicer.vtkSegment.GetTerminologyEntryTagName()
    source.GetNthSegment(1).SetTag(tag, STRUCTURES[0].terminology)
    fractions = []
    node = iris.process(scan, [reference], progress=lambda step: fractions.append(step.fraction))
    import vtk

    for n, name in enumerate(("soft", "bone")):
        segment, value = node.GetSegmentation().GetNthSegment(n), vtk.reference("")
        assert segment.GetName() == name
        assert segment.GetColor() == source.GetNthSegment(n).GetColor()
        segment.GetTag(tag, value)
    assert str(value) == STRUCTURES[0].terminology
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    expected = voxel_points(chest() == 700, OBLIQUE)
    np.testing.assert_allclose(segment_points(slicer, node, segment_id_of(node, "bone")), expected, atol=1e-4)


@pytest.mark.parametrize("failure", [DeviceError("The GPU is full; choose CPU."), ValueError("a bug")])
def test_a_failed_run_leaves_the_scene_node_for_node(slicer, scan, reference, failure):
    from DropGenSeg import DropGenSegLogic
    from IrisICL import IrisICLLogic

    client, before = ThresholdClient(STRUCTURES, failure), scene_state(slicer)
    for target in (None, reference[1]):
        with pytest.raises(type(failure)):
            DropGenSegLogic(client, ThresholdModels("m", "dropgen", STRUCTURES)).process(scan, target)
        with pytest.raises(type(failure)):
            IrisICLLogic(client, ThresholdModels("m", "iris")).process(scan, [reference], target)
    assert scene_state(slicer) == before


def test_cancel_leaves_the_scene_and_no_file(slicer, iris, scan, reference, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = scene_state(slicer)
    run = iris.start(scan, [reference])
    run.poll()
    run.cancel()
    with pytest.raises(Cancelled):
        run.wait()
    assert scene_state(slicer) == before
    assert not list(tmp_path.iterdir())


def test_a_scan_deleted_during_the_run_is_named(slicer, dropgen, scan):
    run = dropgen.start(scan)
    slicer.mrmlScene.RemoveNode(scan)
    before = scene_state(slicer)
    with pytest.raises(InputError, match="CT chest was removed from the scene"):
        run.wait()
    assert scene_state(slicer) == before


def test_many_runs_leave_no_node_behind(slicer, iris, scan, reference):
    target = iris.process(scan, [reference])
    before = slicer.mrmlScene.GetNumberOfNodes()
    for _ in range(20):
        iris.process(scan, [reference], target, mode="replace")
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_dropgen_says_what_is_wrong_before_it_starts(slicer, dropgen, iris, scan):
    with pytest.raises(InputError, match="No scan is chosen"):
        dropgen.process(None)
    with pytest.raises(ModelError, match="no model 'stepz'; did you mean 'steps'"):
        dropgen.process(scan, model="stepz")
    with pytest.raises(InputError, match="no structure 'liver'; choose among: soft, bone"):
        dropgen.process(scan, structures=["liver"])
    with pytest.raises(InputError, match="not a DropGen model"):
        type(dropgen)(dropgen.client, iris.models).process(scan, model="ranges")
    target = add_segmentation(slicer, scan, {"mine": chest() == 0})
    with pytest.raises(InputError, match="'merge'; use 'add' or 'replace'"):
        dropgen.process(scan, target, mode="merge")
    target.SetAndObserveTransformNodeID(add_grid_transform(slicer).GetID())
    with pytest.raises(InputError, match="harden that transform"):
        dropgen.process(scan, target)


def test_iris_says_what_is_wrong_before_it_starts(slicer, iris, scan, reference):
    volume, labels, _ = reference
    with pytest.raises(InputError, match="No scan is chosen"):
        iris.process(None, [reference])
    with pytest.raises(InputError, match="No reference is chosen"):
        iris.process(scan, [])
    with pytest.raises(InputError, match="no strategy 'vote'; use one of one-shot, ensemble"):
        iris.process(scan, [reference], strategy="vote")
    with pytest.raises(InputError, match="No segmentation is chosen for Example"):
        iris.process(scan, [(volume, None, None)])
    with pytest.raises(InputError, match="no segment 'liver'; choose among: bone, soft"):
        iris.process(scan, [reference], structures=["liver"])
    labels.GetSegmentation().AddEmptySegment("", "forgotten")
    with pytest.raises(InputError, match="'forgotten' of Labels has no voxel inside Example"):
        iris.process(scan, [reference])
    other = add_segmentation(slicer, volume, {"Knochen": chest() == 700}, "Other")
    bone = [segment_id_of(labels, "bone")]
    with pytest.raises(InputError, match=r"\(bone\) shares no segment name with the others \(Knochen\)"):
        iris.process(scan, [(volume, labels, bone), (volume, other, None)], strategy="ensemble")


def test_parameters_are_kept_with_the_scene(slicer, dropgen, scan, tmp_path):
    from dropiris.panels.choices import DeviceChoice

    parameters = dropgen.getParameterNode()
    parameters.inputVolume, parameters.model, parameters.device = scan, "steps", DeviceChoice.CPU
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert dropgen.getParameterNode().inputVolume is None
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    loaded = dropgen.getParameterNode()
    assert (loaded.inputVolume.GetName(), loaded.model, loaded.device) == ("CT chest", "steps", DeviceChoice.CPU)


@pytest.mark.parametrize("name", ["DropGenSeg", "IrisICL"])
def test_every_file_of_a_module_is_listed_in_its_cmakelists(name):
    listed = (ROOT / name / "CMakeLists.txt").read_text().replace("${MODULE_NAME}", name)
    files = [p for p in (ROOT / name).rglob("*") if p.suffix in (".py", ".ui", ".png") and "__pycache__" not in p.parts]
    missing = [str(p.relative_to(ROOT / name)) for p in files if p.relative_to(ROOT / name).as_posix() not in listed]
    assert not missing
