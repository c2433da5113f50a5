"""Both modules' Logic through the real worker process and real (tiny, random) networks, back into the scene."""

import os
from dataclasses import replace

import numpy as np
import pytest
from slicer_headless.small_scenes import OBLIQUE, RIGID, add_segmentation, add_transform, add_volume, scene_state

from dropiris.errors import Cancelled, InputError
from dropiris.models.catalogue import Catalogue
from dropiris.progress import CancelToken
from dropiris.volume import Structure

SHAPE = (36, 32, 30)
STRUCTURES = (Structure(1, "liver", (0.8, 0.3, 0.2)), Structure(2, "spleen", (0.2, 0.4, 0.9)))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from dropiris.models.bundle import write_bundle
    from dropiris.models.card import ModelCard
    from dropiris.networks import build_network

    root = tmp_path_factory.mktemp("models")
    specs = {
        "dropgen": {"name": "UNet", "in_channels": 1, "out_channels": 3, "base_width": 4, "downsamplings": 2},
        "iris": {"name": "Iris", "in_channels": 1, "base_width": 4, "task_channels": 64, "queries": 2},
    }
    for method, spec in specs.items():
        torch.manual_seed(3)
        prefix = "predictor." if method == "dropgen" else "iris."
        weights = {prefix + name: value for name, value in build_network(spec).state_dict().items()}
        structures = STRUCTURES if method == "dropgen" else ()
        spacing = (2.0, 2.0, 2.0) if method == "dropgen" else None
        card = ModelCard(f"tiny-{method}", "1.0", method, (32, 32, 32), spec, structures=structures, spacing=spacing)
        write_bundle(root / card.name, card, weights)
    return Catalogue(shipped=root, installed=root / "none")


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    from dropiris.worker.client import WorkerClient

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with WorkerClient(environment=environment, temporary=tmp_path_factory.mktemp("private")) as client:
        yield client


@pytest.fixture
def scan(slicer):
    array = np.random.default_rng(5).normal(100, 30, size=SHAPE).astype(np.float32)
    node = add_volume(slicer, array, OBLIQUE, "Scan")
    node.SetAndObserveTransformNodeID(add_transform(slicer, RIGID).GetID())
    return node


@pytest.fixture
def reference(slicer):
    array = np.random.default_rng(6).normal(100, 30, size=SHAPE).astype(np.float32)
    first, second = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    first[8:20, 8:20, 6:16], second[14:30, 12:24, 8:18] = True, True  # they overlap
    node = add_volume(slicer, array, RIGID, "Example")
    return node, add_segmentation(slicer, node, {"sacrum": first, "hip": second}), None


def names(node):
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]


def test_dropgen_from_scan_to_segments_under_the_scans_transform(slicer, models, worker, scan):
    from DropGenSeg import DropGenSegLogic

    seen = []
    node = DropGenSegLogic(worker, models).process(scan, device="cpu", progress=seen.append)
    assert names(node) == ["liver", "spleen"]
    assert node.GetTransformNodeID() == scan.GetTransformNodeID()
    direct = worker.segment_dropgen(_volume(scan), models.find("tiny-dropgen").folder, device="cpu")
    for n, structure in enumerate(STRUCTURES):
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, node.GetSegmentation().GetNthSegmentID(n), scan)
        np.testing.assert_array_equal(mask.T > 0, direct.mask(structure))
    assert seen[-1].fraction > 0.5


@pytest.mark.parametrize(("strategy", "count"), [("one-shot", 1), ("ensemble", 2)])
def test_iris_from_references_to_segments(slicer, models, worker, scan, reference, strategy, count):
    from IrisICL import IrisICLLogic

    logic = IrisICLLogic(worker, models)
    node = logic.process(scan, [reference] * count, strategy=strategy, device="cpu")
    assert names(node) == ["sacrum", "hip"]
    for n in range(2):
        expected = reference[1].GetSegmentation().GetNthSegment(n).GetColor()
        assert node.GetSegmentation().GetNthSegment(n).GetColor() == expected


def test_a_saved_task_counts_for_all_it_was_learned_from(slicer, models, worker, scan, reference, tmp_path):
    from dropiris.inference.task_embedding import TaskEmbedding, average
    from IrisICL import IrisICLLogic

    array = np.random.default_rng(7).normal(100, 30, size=SHAPE).astype(np.float32)
    logic, second = IrisICLLogic(worker, models), (add_volume(slicer, array, RIGID, "Second"), reference[1], None)
    hip = [reference[1].GetSegmentation().GetNthSegmentID(1)]
    for name, references in (("one", [(*reference[:2], hip)]), ("two", [reference, second])):
        logic.startSaveTask(tmp_path / f"{name}.safetensors", references, device="cpu").wait()
    tasks = [tmp_path / "two.safetensors"]
    three = logic.startSaveTask(tmp_path / "three.safetensors", [(*reference[:2], hip)], device="cpu", tasks=tasks)
    made, two = TaskEmbedding.load(three.wait()), TaskEmbedding.load(tasks[0])
    one = TaskEmbedding.load(tmp_path / "one.safetensors")
    expected = average([one, two], [1, 2])
    assert made.names == ("hip", "sacrum") and set(made.sources) == {"Example", "Second"}
    np.testing.assert_allclose(made.tokens, expected.tokens, atol=1e-5)
    only = logic.startSaveTask(tmp_path / "only.safetensors", [reference], structures=["hip"], device="cpu")
    assert TaskEmbedding.load(only.wait()).names == ("hip",)
    assert names(logic.process(scan, tasks=[tmp_path / "three.safetensors"], device="cpu")) == ["hip", "sacrum"]


def test_without_a_reference_a_model_finds_the_classes_it_remembers(slicer, models, worker, scan, tmp_path):
    import torch

    from dropiris.models.bundle import write_bundle
    from IrisICL import IrisICLLogic

    bundle = models.find("tiny-iris")
    memory = {"memory.tokens": torch.randn(2, 6, 64), "memory.spacing": torch.tensor([2.0, 2.0])}
    card = replace(bundle.card, structures=STRUCTURES)
    folder = write_bundle(tmp_path / "remembering", card, {**bundle.tensors(), **memory}).folder
    logic = IrisICLLogic(worker, models)
    node = logic.process(scan, model=str(folder), device="cpu")
    assert names(node) == ["liver", "spleen"]
    assert node.GetSegmentation().GetNthSegment(0).GetColor() == STRUCTURES[0].color
    assert names(logic.process(scan, model=str(folder), structures=["spleen"], device="cpu")) == ["spleen"]
    for model, structures, words in ((str(folder), ["heart"], "heart"), ("tiny-iris", None, "No reference")):
        with pytest.raises(InputError, match=words):
            logic.process(scan, model=model, structures=structures, device="cpu")


def test_cancel_stops_the_worker_and_leaves_the_scene(slicer, models, worker, scan):
    from DropGenSeg import DropGenSegLogic

    before, cancel = scene_state(slicer), CancelToken()
    with pytest.raises(Cancelled):
        DropGenSegLogic(worker, models).process(
            scan, device="cpu", progress=lambda step: cancel.cancel(), cancel=cancel
        )
    assert scene_state(slicer) == before


def _volume(node):
    from dropiris.mrml import volume_from_node

    return volume_from_node(node)


@pytest.fixture
def checkpoint(models, tmp_path):
    """Writes what the authors' training loop writes, beside a network of so many inputs."""
    import torch

    from dropiris.networks import UNet

    def write(inputs):
        names = {"background": 0, "liver": 1, "spleen": 2}
        shape = {"in_channels": inputs, "num_classes": 3, "base_filters": 4, "num_levels": 2}
        scan = {"spacing": [2.0, 2.0, 2.0], "crop_size": [32, 32, 32], "class_mapping": names}
        content = {"model_state_dict": UNet(inputs, 3, 4, 2).state_dict(), "args": {**shape, **scan}}
        folder = tmp_path / f"Läufe {inputs}"
        folder.mkdir()
        torch.save(content, folder / "best.pth")
        return folder / "best.pth"

    return write


def test_a_checkpoint_of_the_authors_code_is_imported_by_the_worker(slicer, open_panel, worker, checkpoint, tmp_path):
    from slicer_headless.panel_session import wait

    from DropGenSeg import DropGenSegWidget

    catalogue = Catalogue(shipped=tmp_path / "none", installed=tmp_path / "installed")
    panel = open_panel(DropGenSegWidget, worker, catalogue)

    def import_file(path):
        panel.models.ask_bundle = lambda: str(path)
        panel.models.importing.trigger()
        wait(slicer, panel, 60)
        return panel.ui.statusLabel.text

    path = checkpoint(17)  # trained beside anatomix, whose weights are not there
    sentence = import_file(path)
    assert f"there is no {path.with_name('anatomix.pth')}; put its weights there" in sentence
    assert catalogue.list() == []
    assert "is installed" in import_file(checkpoint(1))
    assert panel.model() == "L-ufe-1" and [s.name for s in panel.entry().card.structures] == ["liver", "spleen"]
    path.write_bytes(b"no checkpoint")
    assert "is not a plain PyTorch checkpoint; download or copy it again." in import_file(path)
