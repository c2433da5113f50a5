"""The real scene of the slicer-core wheel, emptied around each test."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
pytest.importorskip("slicer_core", reason="the slicer-core wheel is not installed")


@pytest.fixture(scope="session")
def booted_slicer():
    import slicer_headless

    return slicer_headless.start()


@pytest.fixture
def slicer(booted_slicer):
    booted_slicer.mrmlScene.Clear(0)
    yield booted_slicer
    booted_slicer.mrmlScene.Clear(0)
