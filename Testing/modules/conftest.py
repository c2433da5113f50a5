"""The real scene with both modules importable; Qt is PySide6 in PythonQt's clothes where it is installed."""

import sys
import traceback
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "DropGenSeg"), str(ROOT / "IrisICL")]
pytest.importorskip("slicer_core", reason="the slicer-core wheel is not installed")

import numpy as np  # noqa: E402
from slicer_headless.small_scenes import OBLIQUE, add_segmentation, add_volume  # noqa: E402
from slicer_headless.soft_and_bone import PELVIS, STRUCTURES, chest, pelvis  # noqa: E402

from dropiris.panels.threshold_client import ThresholdClient, ThresholdModels  # noqa: E402


@pytest.fixture(scope="session")
def booted_slicer():
    from slicer_headless import boot_scene, install_module_bases

    slicer = boot_scene()
    try:
        from slicer_headless.qt_standin import install_qt
    except ImportError:
        pass  # without PySide6 the modules still import; the wiring tests skip
    else:
        install_qt(slicer)
    install_module_bases(slicer)
    return slicer


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    """Models and measured speeds of these tests stay out of the user's own folder."""
    monkeypatch.setenv("DROPIRIS_USER_MODELS", str(tmp_path / "user" / "models"))
    return tmp_path / "user"


@pytest.fixture
def slicer(booted_slicer):
    booted_slicer.mrmlScene.Clear(0)
    yield booted_slicer
    booted_slicer.mrmlScene.Clear(0)


@pytest.fixture
def scan(slicer):
    return add_volume(slicer, chest(), OBLIQUE, "CT chest")


@pytest.fixture
def reference(slicer):
    """A labelled scan: its volume and its segmentation."""
    volume = add_volume(slicer, pelvis(), np.diag([1.0, 2, 3, 1]), "CT pelvis A")
    return volume, add_segmentation(slicer, volume, PELVIS, "Labels of A")


@pytest.fixture
def scans(slicer):
    return [add_volume(slicer, pelvis(), OBLIQUE, f"CT pelvis {name}") for name in "CDE"]


@pytest.fixture
def iris(slicer):
    """IrisICL's Logic; intensity ranges of the references take the place of the network."""
    from IrisICL import IrisICLLogic

    return IrisICLLogic(ThresholdClient(()), ThresholdModels("ranges", "iris"))


@pytest.fixture
def open_panel(slicer, monkeypatch):
    """Open a module's panel from its real .ui file; its Logic gets the given client and models.

    An exception in a slot or an observer ends nothing, it is only printed: here it fails the test.
    """
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    from slicer_headless import panel_session

    opened, raised = [], []
    monkeypatch.setattr(sys, "excepthook", lambda *about: raised.append(about))

    def open_panel(widget_class, client=None, models=None):
        opened.append(panel_session.open_panel(slicer, widget_class, client, models))
        return opened[-1]

    yield open_panel
    for panel in opened:
        panel_session.close_panel(panel)
    assert not raised, "".join(traceback.format_exception(*raised[0]))


@pytest.fixture
def open_dropgen(open_panel):
    """Open DropGenSeg's panel; intensity steps take the place of the network."""

    def open_dropgen(models=None, structures=STRUCTURES, failure=None):
        from DropGenSeg import DropGenSegWidget  # now: a test may have reloaded the module

        models = models or ThresholdModels("steps", "dropgen", structures)
        return open_panel(DropGenSegWidget, ThresholdClient(structures, failure), models)

    return open_dropgen


@pytest.fixture
def open_iris(open_panel):
    """Open IrisICL's panel; as ``iris``."""

    def open_iris(structures=(), failure=None):
        from IrisICL import IrisICLWidget

        return open_panel(IrisICLWidget, ThresholdClient((), failure), ThresholdModels("ranges", "iris", structures))

    return open_iris


@pytest.fixture
def panel(open_iris):
    return open_iris()
