"""Iris's segmenter: a reference becomes a task, a task segments scans on their own grids."""

from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dropiris.errors import Cancelled, InputError, ModelError
from dropiris.inference.devices import Device
from dropiris.inference.iris_segmenter import IrisSegmenter
from dropiris.inference.strategies import nearest, segment_with_strategy
from dropiris.inference.task_embedding import TaskEmbedding, average
from dropiris.inference.tuning import tune
from dropiris.inference.working_spacing import spacing_together
from dropiris.intensity import IntensityRule
from dropiris.models.bundle import Bundle, write_bundle
from dropiris.models.card import ModelCard
from dropiris.networks import build_network
from dropiris.progress import CancelToken
from dropiris.volume import LabelMap, Reference, Structure, Volume

CPU = Device("cpu", "float32", "CPU", "test")
NETWORK = {"in_channels": 1, "base_width": 4, "task_channels": 64, "queries": 2}
DARK, BRIGHT = Structure(1, "dark box", (1, 0, 0), "coded"), Structure(2, "bright box", (0, 0, 1))


def bundle(folder, in_channels=1, **card) -> Bundle:
    torch.manual_seed(0)
    network = {"name": "Iris", **NETWORK, "in_channels": in_channels}
    tensors = {f"iris.{n}": v for n, v in build_network(network).state_dict().items()}
    values = {"network": network, "window": (32, 32, 32), **card}
    values.setdefault("intensity", IntensityRule(scale="unit", percentiles=(0, 100), ct_window=None).to_json())
    return write_bundle(folder, ModelCard(name="any", version="1.0", method="iris", **values), tensors, half=False)


class SameIntensity:
    """Tokens are the structure's mean intensity; a voxel belongs to it within 0.1: the answer is known exactly."""

    def __init__(self):
        self.iris = SimpleNamespace(tokens=6, own_tokens=6, task_channels=64)
        self.torch_device, self.channels, self.encoded = "cpu", 0, 0

    def look_for(self, tokens):
        self.wanted, self.channels = tokens[:, 0, 0], len(tokens)

    def encode(self, window, masks):
        self.encoded += 1
        means = (window[0] * masks).sum((1, 2, 3)) / masks.sum((1, 2, 3))
        return means[:, None, None].expand(-1, 6, 64)

    def __call__(self, windows):
        return 0.1 - (windows - self.wanted[None, :, None, None, None]).abs()

    def to_cpu(self):
        pass


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Bundle:
    return bundle(tmp_path_factory.mktemp("models") / "any")


@pytest.fixture
def segmenter(model) -> IrisSegmenter:
    made = IrisSegmenter(model, CPU)
    made.scorer = SameIntensity()
    return made


@pytest.fixture
def one_mm(monkeypatch) -> None:
    """A working spacing that needs no resampling, so that answers are exact."""
    monkeypatch.setattr("dropiris.inference.iris_segmenter.structure_spacing", lambda mask, spacing: 1.0)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A body of 0.2 in air with two boxes of 0.5 and 1.0, and their labels; 1 mm, (R, A, S)."""
    image, labels = np.zeros((60, 50, 40), np.float32), np.zeros((60, 50, 40), np.uint8)
    image[4:56, 4:46, 4:36] = 0.2
    image[10:30, 10:26, 8:20], labels[10:30, 10:26, 8:20] = 0.5, 1
    image[34:50, 20:40, 14:32], labels[34:50, 20:40, 14:32] = 1.0, 2
    return image, labels


def reference(name="scene", affine=None, structures=(DARK, BRIGHT)) -> Reference:
    image, labels = scene()
    affine = np.eye(4) if affine is None else affine
    return Reference(Volume(image, affine, name), (LabelMap(labels, affine, structures),))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("sign", [1, -1])
def test_a_task_from_one_scan_segments_a_scan_in_another_orientation(segmenter, one_mm, axes, sign):
    task = segmenter.encode([reference()])
    image, labels = scene()
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for world, axis in enumerate(axes):
        affine[world, axis] = sign
    turned = image.transpose(np.argsort(axes))[(slice(None, None, sign),) * 3]
    truth = labels.transpose(np.argsort(axes))[(slice(None, None, sign),) * 3]
    result = segmenter.segment(Volume(turned, affine, "query"), task)
    assert result.structures == (DARK, BRIGHT) and result.shape == turned.shape and result.name == "query"
    assert np.array_equal(result.array, truth)


def test_an_oblique_anisotropic_scan_is_segmented_on_its_own_grid(segmenter):
    task = segmenter.encode([reference()])
    image, labels = scene()
    a = np.deg2rad(20)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.0, 1.0, 2.0]
    result = segmenter.segment(Volume(image[:, :, ::2], affine), task)
    for label in (1, 2):
        assert dice(result.array == label, labels[:, :, ::2] == label) > 0.8


def test_a_structure_larger_than_the_window_is_encoded_from_several_crops(segmenter, monkeypatch):
    monkeypatch.setattr("dropiris.inference.iris_segmenter.structure_spacing", lambda mask, spacing: 0.5)
    monkeypatch.setattr("dropiris.inference.iris_segmenter.spacing_together", lambda extent: 0.0)
    task = segmenter.encode([reference()])
    assert segmenter.scorer.encoded > 2
    np.testing.assert_allclose(task.tokens[:, 0, 0], [0.5, 1.0], atol=0.03)
    assert (task.spacing == 0.5).all()


def test_structures_of_very_different_size_work_at_their_own_spacing(segmenter):
    image, labels = scene()
    labels[40, 28:31, 20:23], image[40, 28:31, 20:23] = 3, 0.75
    tiny = Structure(3, "tiny")
    big = Reference(Volume(image, np.eye(4)), (LabelMap(labels, np.eye(4), (DARK, tiny)),))
    wanted = segmenter.working_spacings([big])
    task = segmenter.encode([big])
    assert task.spacing.tolist() == [wanted["dark box"], wanted["tiny"]]


def test_small_structures_of_a_whole_brain_are_looked_at_together(segmenter):
    labels = np.zeros((90, 60, 60), np.uint8)
    labels[2:8, 20:26, 20:26], labels[80:86, 20:26, 20:26] = 1, 2
    image = np.where(labels > 0, 1.0, 0.2).astype(np.float32)
    both, alone = (
        Reference(Volume(image, np.diag([2.0, 2, 2, 1])), (LabelMap(labels, np.diag([2.0, 2, 2, 1]), structures),))
        for structures in ((DARK, BRIGHT), (DARK,))
    )
    assert list(segmenter.working_spacings([both]).values()) == pytest.approx([168 / 72] * 2)
    assert segmenter.working_spacings([alone])[DARK.name] < 2
    assert spacing_together((500.0, 100.0, 900.0)) == 2.5  # a gland of a whole body must not vanish


def test_passes_at_several_spacings_are_merged_and_the_smaller_structure_wins(segmenter):
    task = segmenter.encode([reference()])
    twice = TaskEmbedding(
        task.tokens[[0, 0]], (DARK, BRIGHT), np.array([2.0, 0.9]), task.model, task.version
    )  # both look for the dark box
    seen = []
    result = segmenter.segment(Volume(scene()[0], np.eye(4)), twice, progress=seen.append)
    assert (result.array == 1).sum() < 0.1 * (result.array == 2).sum()
    assert [p.fraction for p in seen] == sorted(p.fraction for p in seen) and seen[-1].fraction == 1.0


def test_only_the_structures_asked_for_are_searched(segmenter):
    task = segmenter.encode([reference()])
    result = segmenter.segment(Volume(scene()[0], np.eye(4)), task, structures=["bright box"])
    assert segmenter.scorer.channels == 1
    assert result.structures == (BRIGHT,) and set(np.unique(result.array)) == {0, 2}


def test_overlapping_layers_of_a_reference_get_labels_of_their_own(segmenter):
    image, labels = scene()
    one = LabelMap((labels == 1).astype(np.uint8), np.eye(4), (DARK,))
    two = LabelMap((labels == 2).astype(np.uint8), np.eye(4), (replace(BRIGHT, label=1),))
    task = segmenter.encode([Reference(Volume(image, np.eye(4)), (one, two))])
    assert [s.label for s in task.structures] == [1, 2]
    assert set(np.unique(segmenter.segment(Volume(image, np.eye(4)), task).array)) == {0, 1, 2}


def test_an_empty_structure_is_refused_by_name(segmenter):
    with pytest.raises(InputError, match="'third' of scene is empty"):
        segmenter.encode([reference(structures=(DARK, Structure(3, "third")))])


def test_no_reference_is_refused(segmenter):
    with pytest.raises(InputError, match="No reference is given"):
        segmenter.encode([])


def test_a_task_of_another_model_is_refused(segmenter):
    task = replace(segmenter.encode([reference()]), model="other")
    with pytest.raises(InputError, match=r"made by the model other 1\.0, not any 1\.0"):
        segmenter.segment(Volume(scene()[0], np.eye(4)), task)


def test_cancel_stops_encoding_and_segmenting(segmenter):
    task = segmenter.encode([reference()])
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        segmenter.encode([reference()], cancel=token)
    with pytest.raises(Cancelled):
        segmenter.segment(Volume(scene()[0], np.eye(4)), task, cancel=token)


def test_an_ensemble_is_the_average_of_the_references(segmenter):
    a, b = reference("a"), reference("b")
    together = segmenter.encode([a, b])
    apart = average([segmenter.encode([a]), segmenter.encode([b])])
    np.testing.assert_allclose(together.tokens, apart.tokens)
    assert together.sources == ("a", "b")


@pytest.mark.parametrize("strategy", ["one-shot", "ensemble", "retrieval"])
def test_every_strategy_finds_the_boxes(segmenter, one_mm, strategy):
    tasks = [segmenter.encode([reference(name)]) for name in "abc"]
    result = segment_with_strategy(segmenter, Volume(scene()[0], np.eye(4)), tasks, strategy)
    assert np.array_equal(result.array, scene()[1])


def test_retrieval_takes_the_references_most_like_the_scan(segmenter):
    good = segmenter.encode([reference()])
    noise = np.random.default_rng(0).normal(size=good.tokens.shape)
    others = [replace(good, tokens=noise + n) for n in range(3)]
    found = nearest(good, [*others, good], average([*others, good]), count=1)
    np.testing.assert_allclose(found.tokens, good.tokens)


def test_retrieval_survives_a_first_pass_that_finds_nothing(segmenter):
    task = segmenter.encode([reference()])
    blind = [replace(task, tokens=task.tokens + 9) for _ in range(2)]
    result = segment_with_strategy(segmenter, Volume(scene()[0], np.eye(4)), blind, "retrieval")
    assert not result.array.any()


def test_an_unknown_strategy_and_tuning_without_scans_are_refused(segmenter):
    task = segmenter.encode([reference()])
    volume = Volume(scene()[0], np.eye(4))
    with pytest.raises(InputError, match="choose among: one-shot"):
        segment_with_strategy(segmenter, volume, [task], "magic")
    with pytest.raises(InputError, match="Tuning needs the labelled scans"):
        segment_with_strategy(segmenter, volume, [task], "tune")


def test_tuning_changes_only_the_tokens_and_fits_the_reference_better(model):
    segmenter = IrisSegmenter(model, CPU)
    before = {n: v.clone() for n, v in segmenter.scorer.iris.state_dict().items()}
    task = segmenter.encode([reference()])
    tuned = tune(segmenter, task, [reference()], steps=8)
    assert tuned.structures == task.structures and not np.array_equal(tuned.tokens, task.tokens)
    assert all(torch.equal(v, before[n]) for n, v in segmenter.scorer.iris.state_dict().items())
    window = segmenter.crops(reference(), task.names, float(task.spacing[0]))[0]

    def loss(t: TaskEmbedding) -> float:
        segmenter.scorer.look_for(torch.from_numpy(t.subset(window.names).tokens))
        logits = segmenter.scorer(window.image)
        return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, window.masks[None]))

    assert loss(tuned) < loss(task)


def test_the_real_network_runs_from_reference_to_labels_and_tasks_survive_a_file(model, tmp_path):
    segmenter = IrisSegmenter(model, CPU)
    task = segmenter.encode([reference()])
    assert task.tokens.shape == (2, segmenter.scorer.iris.tokens, 64)
    volume = Volume(scene()[0][:32, :32], np.eye(4))
    direct = segmenter.segment(volume, task)
    loaded = segmenter.segment(volume, TaskEmbedding.load(task.save(tmp_path / "task.safetensors")))
    assert np.array_equal(direct.array, loaded.array) and direct.shape == volume.shape


def test_the_stable_variant_gives_the_encoder_the_extractors_features(tmp_path):
    made = bundle(tmp_path / "stable", in_channels=13, extractor={"name": "MIND-SSC"})
    segmenter = IrisSegmenter(made, CPU)
    assert segmenter.segment(Volume(scene()[0], np.eye(4)), segmenter.encode([reference()])).shape == (60, 50, 40)


def test_half_precision_runs_where_autocast_does(model):
    segmenter = IrisSegmenter(model, Device("cpu", "bfloat16", "CPU", "test"))
    task = segmenter.encode([reference()])
    exact = IrisSegmenter(model, CPU).encode([reference()])
    assert np.corrcoef(task.tokens.ravel(), exact.tokens.ravel())[0, 1] > 0.99
    assert segmenter.segment(Volume(scene()[0], np.eye(4)), task).shape == (60, 50, 40)


def test_memory_that_ends_while_encoding_steps_down_and_says_so(model):
    segmenter = IrisSegmenter(model, Device("cpu:0", "float32", "pretend GPU", "test"))
    encode = segmenter.scorer.encode

    def small(window, masks):
        if segmenter.scorer.torch_device != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(window, masks)

    segmenter.scorer.encode = small
    seen = []
    assert segmenter.encode([reference()], progress=seen.append).tokens.shape[0] == 2
    assert any("going on with the processor" in p.message for p in seen)


def test_a_bundle_that_is_no_iris_network_is_refused(tmp_path):
    with pytest.raises(ModelError, match="takes 1 channels"):
        IrisSegmenter(bundle(tmp_path / "odd", extractor={"name": "MIND-SSC"}), CPU)
    with pytest.raises(ModelError, match="needs multiples of 16"):
        IrisSegmenter(bundle(tmp_path / "odd2", window=(40, 32, 32)), CPU)
