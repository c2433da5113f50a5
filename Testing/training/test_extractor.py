"""Pretraining an extractor: what the loss asks for, what pairs show, and a bundle that DropGen takes."""

import json
import math

import numpy as np
import pytest
import torch

from dropiris.data.label_maps import LabelledPairs, Pose, centres_of, load_label_maps, window_of
from dropiris.data.labelled_scan import LabelledScan, load_labelled_scan, looking_alike, surroundings, without_side
from dropiris.data.nnunet import Dataset
from dropiris.errors import InputError
from dropiris.evaluate.representations import linear_cka, linear_probe
from dropiris.networks import AnatomixUNet
from dropiris.train import train_extractor
from dropiris.train.contrastive import (
    ContrastiveAnatomix,
    contrastive_loss,
    labels_at,
    multi_positive_info_nce,
    sample_voxels,
)
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.extractor_config import ExtractorConfig
from dropiris.train.extractor_export import export_extractor
from dropiris.train.extractors import build_extractor
from dropiris.train.initial_weights import read_weights
from dropiris.train.structure_naming import NamingAnatomix, naming_loss, outline_loss

TINY = {"window": (32, 32, 32), "precision": "32-true", "accelerator": "cpu", "voxels": 32, "projection": 16}
TINY |= {"max_steps": 4, "checkpoint_every": 2, "validation_pairs": 1, "warmup_steps": 0}


def striped(stripes: np.ndarray) -> LabelledScan:
    names = ("a", "a", *"bcdefghij", "extra cerebral")
    alike = np.array([0, 1, 1, *range(2, 12)])
    voxel = np.array([1.0, 1.0, 2.0])
    return LabelledScan("stripes", np.ascontiguousarray(stripes), voxel, np.arange(1, 13), names, alike, "Stripes")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_loss_is_the_supervised_contrastive_loss_written_out():
    features = torch.randn(2, 10, 6, generator=generator())
    labels = torch.randint(0, 3, (2, 10), generator=generator(1))
    total, anchors = 0.0, 0
    for z, y in zip(torch.nn.functional.normalize(features, dim=-1).numpy(), labels.numpy(), strict=True):
        for i in range(len(y)):
            others = [j for j in range(len(y)) if j != i]
            denominator = sum(math.exp(z[i] @ z[j] / 0.3) for j in others)
            positives = [j for j in others if y[j] == y[i]]
            if positives:
                total -= np.mean([math.log(math.exp(z[i] @ z[j] / 0.3) / denominator) for j in positives])
                anchors += 1
    assert float(multi_positive_info_nce(features, labels, 0.3)) == pytest.approx(total / anchors, rel=1e-5)


def test_the_loss_is_least_when_a_label_is_one_direction_and_not_when_all_are():
    labels = torch.tensor([[0, 0, 1, 1, 2, 2]])
    told_apart, collapsed = torch.eye(3)[labels], torch.ones(1, 6, 3)
    mixed = torch.eye(3)[torch.tensor([[0, 1, 2, 0, 1, 2]])]
    scores = [float(multi_positive_info_nce(f, labels, 0.1)) for f in (told_apart, collapsed, mixed)]
    assert scores[0] < 0.01 < scores[1] < scores[2]


def test_labels_of_one_image_are_no_positives_of_another():
    features = torch.eye(4)[None].repeat(2, 1, 1)
    assert torch.isnan(multi_positive_info_nce(features, torch.arange(4).repeat(2, 1), 0.1))


def test_balanced_sampling_finds_a_label_of_a_thousandth_of_the_volume():
    labels = torch.zeros(2, 8000, dtype=torch.uint8)
    labels[:, :8] = 7
    labels[:, 8:2000] = 3
    torch.manual_seed(0)
    drawn = sample_voxels(labels, 24, balanced=True)
    assert drawn.shape == (2, 24) and all(len(row.unique()) == 24 for row in drawn)
    assert int((labels.gather(1, drawn) == 7).sum(1).min()) >= 4
    torch.manual_seed(0)
    uniform = labels.gather(1, sample_voxels(labels, 200, balanced=False))
    assert int((uniform == 7).sum()) <= 4


def test_labels_of_a_level_are_those_in_the_middle_of_its_voxels():
    labels = torch.arange(8).view(1, 8, 1, 1).expand(1, 8, 8, 8)
    assert labels_at(labels, 4).view(2, 2, 2)[:, 0, 0].tolist() == [2, 6]
    assert labels_at(labels, 1).numel() == 512


def test_features_are_read_at_the_sampled_voxels_of_both_views():
    network = ContrastiveAnatomix([4, 1, 0], width=8).eval()
    network.projections = torch.nn.ModuleList([torch.nn.Identity()] * 3)
    images = torch.rand(2, 1, 32, 32, 32, generator=generator())
    where = [torch.tensor([[5, 100]]), torch.tensor([[7, 30000]]), torch.tensor([[0, 32767]])]
    coarse, penultimate, output = network(images, where)
    with torch.no_grad():
        whole = AnatomixUNet(layer="penultimate").eval()
        whole.load_state_dict({k: v for k, v in network.state_dict().items() if k.startswith("model.")})
        expected = whole(images).flatten(2)
        assert torch.allclose(penultimate[0], torch.cat([expected[0, :, where[1][0]].T, expected[1, :, where[1][0]].T]))
        whole.layer = "final"
        expected = whole(images).flatten(2)
        assert torch.allclose(output[0, 3], expected[1, :, 32767], atol=1e-5)
    assert coarse.shape == (1, 4, 64)


def test_a_step_against_the_gradient_lowers_the_loss():
    torch.manual_seed(0)
    network = ContrastiveAnatomix([4, 1, 0], width=16)
    labels, images = (part[None] for part in LabelledPairs([], (32, 32, 32), 0).pair(0, 0)[:2])
    at_levels = [labels_at(labels, max(1, level)) for level in (4, 1, 0)]
    voxels = [sample_voxels(own, 64) for own in at_levels]
    theirs = [own.gather(1, where) for own, where in zip(at_levels, voxels, strict=True)]
    optimizer, losses = torch.optim.Adam(network.parameters(), 1e-3), []
    for _ in range(6):
        loss = contrastive_loss(network(images.transpose(0, 1), voxels), theirs, 0.33)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.1


def test_pairs_depend_on_their_place_alone_and_on_the_device_too():
    ready, later = LabelledPairs([], (32, 32, 32), 3), LabelledPairs([], (32, 32, 32), 3, on_device=True)
    first, again, other = ready[5, 1], ready[5, 1], ready[5, 0]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    places = torch.stack([later[5, index][0] for index in (0, 1)])
    made = later.made([places], torch.device("cpu"))
    assert all(torch.equal(a[1], b) for a, b in zip(made, first, strict=True))


def test_label_maps_are_renumbered_and_windows_lie_inside_them(blob_dataset):
    scan = load_labelled_scan(Dataset.open(blob_dataset).cases()[0])
    assert scan.values.tolist() == [1, 3] and set(np.unique(scan.labels)) == {0, 1, 2}
    stripes = np.broadcast_to((np.arange(60) // 5 + 1).astype(np.uint8)[:, None, None], (60, 50, 40))
    scan = striped(stripes)
    for seed in range(5):
        window = window_of(scan, (32, 32, 32), np.random.default_rng(seed))
        assert window.dtype == torch.uint8 and int((window > 0).sum()) > 3000 and len(window.unique()) > 4
    pairs = LabelledPairs([scan], (32, 32, 32), 0, windows=1.0)
    assert pairs.whole and len(pairs.templates) == 12 and int(pairs[0, 0][0].max()) <= 12


def test_windows_lie_about_named_structures_where_they_are_asked_to():
    labels = np.zeros((80, 60, 60), np.uint8)
    labels[60:64, 30:34, 10:14] = 3
    labels[50:][labels[50:] == 0] = 12  # what lies around a brain
    scan = striped(labels)
    centres = centres_of(scan)
    assert len(centres) == 1 and centres[0].mean(0).tolist() == [61.5, 31.5, 11.5]
    pose = Pose(finest=1.0, coarsest=1.2, rotation=0.2, centring=0.5)
    windows = [window_of(scan, (32, 32, 32), np.random.default_rng(seed), pose, centres) for seed in range(6)]
    assert all(bool((window[12:20, 12:20, 12:20] == 3).any()) for window in windows)


def test_brains_look_like_a_sequence_unless_their_contrast_is_random():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[:20], labels[20:] = 1, 2
    names = ("cerebral white matter", "csf", *"abcdefghij")
    scan = LabelledScan("brain", labels, np.ones(3), np.arange(1, 13), names, np.arange(13), "Brains")
    seen = set()
    for share in (0.0, 1.0):
        pairs = LabelledPairs([scan], (32, 32, 32), 0, windows=1.0, random_share=share)
        for step in range(8):
            whole = torch.from_numpy(labels)[None]
            images = pairs.images(whole, scan, np.random.default_rng(step))
            brighter = [float(image[:, :16].mean() - image[:, 24:].mean()) > 0 for image in images]
            seen.add((share, *brighter))
    # two views are never of one sequence; white matter is brighter than fluid in all of them but T2
    assert (0.0, True, True) in seen and (0.0, False, False) not in seen and (1.0, False, False) in seen


def test_structures_lose_their_side_and_what_looks_alike_is_one_group(tmp_path):
    assert without_side("left_cerebral_white_matter_part_25") == "cerebral white matter"
    assert without_side("kidney_right") == without_side("Left Kidney") == "kidney"
    assert without_side("upright l5") == "upright l5"
    classes = {"1": 4, "2": 5, "3": 5, "9": 4}
    content = {"labels": {"a": 1}, "generation_class": classes}
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    dataset = Dataset.open(tmp_path)
    groups = looking_alike(["a", "b", "c", "b", "d"], [1, 2, 3, 9, 7], dataset)
    assert len(set(groups[1:5])) == 1 and len(set(groups)) == 3 and list(groups).count(groups[0]) == 1


def test_surroundings_are_parts_of_like_intensity_and_the_darkest_is_air():
    image = np.zeros((20, 20, 20), np.float32)
    image[:, 5:10], image[:, 10:15], image[:, 15:] = 50, 100, 150
    unlabelled = np.ones(image.shape, bool)
    unlabelled[:, :, :5] = False
    parts = surroundings(image, unlabelled, 3)
    assert not parts[:, :, :5].any() and not parts[:, :4, 5:].any()
    assert [len(np.unique(parts[:, n : n + 3, 6:])) for n in (1, 6, 11, 16)] == [1, 1, 1, 1]
    assert parts[0, 17, 10] == 3 and len(np.unique(parts)) == 4
    assert not surroundings(np.zeros((20, 20, 20)), unlabelled, 3).any()


def test_left_and_right_are_rendered_alike_and_named_alike_and_heads_are_stripped():
    stripes = np.broadcast_to((np.arange(60) // 5 + 1).astype(np.uint8)[:, None, None], (60, 50, 40))
    scan = striped(stripes)
    pairs = LabelledPairs([scan], (32, 32, 32), 0, windows=1.0, stripped=1.0)
    assert pairs.names == ["", *sorted([*"abcdefghij", "extra cerebral"])]
    for step in range(6):
        labels, images, names, possible = pairs.pair(step, 0)
        assert not (labels == 12).any() and possible.all()
        assert torch.equal(names == 1, (labels == 1) | (labels == 2))
        assert torch.equal(names == 0, labels == 0) and images.shape == (2, 32, 32, 32)
    bare = LabelledPairs([], (32, 32, 32), 0).pair(0, 0)
    assert not bare[2].any() and not bare[3].any()


def test_names_are_told_apart_only_among_those_that_a_dataset_draws():
    logits = torch.zeros(1, 2, 3)
    logits[..., 2] = 50.0  # would win, but belongs to another dataset
    possible = torch.tensor([[True, True, False]])
    loss = naming_loss([logits], [torch.tensor([[1]])], possible, [1])
    assert float(loss) == pytest.approx(math.log(2), abs=1e-4)
    nothing = naming_loss([logits.requires_grad_()], [torch.tensor([[0]])], torch.zeros(1, 3, dtype=torch.bool), [1])
    assert float(nothing.detach()) == 0
    nothing.backward()


def test_naming_reads_what_dropgen_reads():
    network = NamingAnatomix([1], names=5, width=8).eval()
    network.heads = torch.nn.ModuleList([torch.nn.Identity()])
    images = torch.rand(2, 1, 32, 32, 32, generator=generator())
    _, (read,), _ = network(images, [torch.tensor([[5, 30000, 7]])], 2)
    with torch.no_grad():
        whole = AnatomixUNet(layer="penultimate").eval()
        whole.load_state_dict({k: v for k, v in network.state_dict().items() if k.startswith("model.")})
        expected = torch.nn.functional.instance_norm(whole(images)).flatten(2)
    assert torch.allclose(read[0, 4], expected[1, :, 30000], atol=1e-4)


@pytest.mark.parametrize("outlines", [False, True])
@pytest.mark.parametrize("naming", [0.0, 0.5, 1.0])
def test_whatever_is_trained_has_a_gradient(naming, outlines):
    """Processes that share gradients wait for those of every weight."""
    network = NamingAnatomix([2, 1], names=3, width=8, naming=naming, outlines=outlines)
    voxels = [torch.arange(40)[None], torch.arange(40)[None]]
    images, possible = torch.rand(2, 1, 32, 32, 32, generator=generator()), torch.tensor([[True, False, True]])
    features, logits, drawn = network(images, voxels, 20, possible)
    assert (len(features), len(logits), len(drawn)) == (2 * (naming < 1), 2 * (naming > 0), 2 * outlines)
    torch.stack([part.square().sum() for part in [*features, *logits, *drawn]]).sum().backward()
    assert all((weight.grad is not None) == weight.requires_grad for weight in network.parameters())


def test_outlines_are_those_of_what_a_dataset_draws():
    names = torch.zeros(2, 4, 4, 4, dtype=torch.int16)
    names[0, :2], names[1, :, :1] = 3, 1
    possible = torch.tensor([[True, False, False, True], [True, True, False, False]])
    truth = torch.stack([names[0] == 0, names[0] == 3]), torch.stack([names[1] == 0, names[1] == 1])
    right = [40.0 * own for own in truth]
    assert float(outline_loss(right, names, possible)) == pytest.approx(0, abs=1e-4)
    # of two views of each label map, which come one view after the other, one is right
    wrong = [40.0 * own.flip(0) for own in truth]
    assert float(outline_loss([*right, *wrong], names, possible)) > 10
    nothing = [own.requires_grad_() for own in right]
    loss = outline_loss(nothing, names, torch.zeros(2, 4, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0


def test_outlines_are_learned():
    torch.manual_seed(0)
    network = NamingAnatomix([1], names=2, naming=1.0, outlines=True)
    image = 0.2 + 0.1 * torch.rand(1, 1, 32, 32, 32, generator=generator())
    image[..., 12:20, 8:24, 8:24] += 0.5
    names, possible = (image[:, 0] > 0.5).to(torch.int16), torch.ones(1, 2, dtype=torch.bool)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        _, _, drawn = network(image, [torch.arange(4)[None]], 1, possible)
        loss = outline_loss(drawn, names, possible)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("asked", [{"naming": 1.0}, {"outlining": 1.0}])
def test_naming_without_names_is_refused(tmp_path, asked):
    with pytest.raises(InputError, match="names need label maps"):
        train_extractor(ExtractorConfig(**asked, **TINY), tmp_path / "run")


def test_cases_kept_for_the_probe_are_not_trained_on(blob_dataset):
    dataset = Dataset.open(blob_dataset)
    names = [case.name for case in dataset.cases()]
    left = load_label_maps([dataset], "Tr", without=names[:1])
    assert [scan.name for scan in left] == names[1:]


def test_cka_is_one_for_turned_features_and_small_for_unrelated_ones():
    x = torch.randn(500, 5, generator=generator())
    turn = torch.linalg.qr(torch.randn(5, 5, generator=generator(1))).Q
    assert linear_cka(x, 3 * x @ turn + 2) == pytest.approx(1.0)
    assert linear_cka(x, torch.randn(500, 5, generator=generator(2))) < 0.05


def test_the_probe_tells_collapsed_features_from_good_ones_where_cka_does_not():
    labels = torch.randint(0, 4, (2000,), generator=generator())
    noise = torch.randn(2000, 8, generator=generator(1))
    good = torch.eye(8)[labels] + 0.1 * noise
    collapsed = torch.ones(2000, 8) + 1e-3 * noise
    assert linear_probe(good[:1000], labels[:1000], good[1000:], labels[1000:]) > 0.99
    assert linear_cka(collapsed, collapsed) == pytest.approx(1.0)
    assert linear_probe(collapsed[:1000], labels[:1000], collapsed[1000:], labels[1000:]) < 0.4


@pytest.mark.parametrize(("naming", "outlining"), [(0.0, 0.0), (0.8, 0.0), (1.0, 0.5)])
def test_a_run_writes_an_extractor_that_dropgen_takes(blob_dataset, tmp_path, naming, outlining):
    config = ExtractorConfig(
        data=[blob_dataset],
        name="stable",
        validate_every=2,
        naming=naming,
        outlining=outlining,
        named_voxels=64,
        clusters=6,
        windows=0.5,
        **TINY,
    )
    bundle = train_extractor(config, tmp_path / "run")
    assert set(bundle.tensors()) == {f"extractor.{name}" for name in AnatomixUNet().state_dict()}
    network = build_extractor(DropGenConfig(data=[blob_dataset], extractor=str(tmp_path / "run" / "stable")))
    assert network(torch.rand(1, 1, 32, 32, 32)).shape == (1, 16, 32, 32, 32)
    card = bundle.card
    assert card.training["datasets"]["Dataset901_Blobs"]["licence"] == "CC0 1.0"
    assert 0 <= card.scores[0]["value"] <= 1 and card.network["layer"] == "penultimate" and card.method == "extractor"


def test_random_shapes_need_no_data_and_a_resumed_run_ends_in_the_same_weights(tmp_path, monkeypatch):
    from dropiris.train import checkpoint

    straight = train_extractor(ExtractorConfig(**TINY), tmp_path / "straight").tensors()
    real = checkpoint.TrainingState.save

    def save_then_stop(self, step, **progress):
        real(self, step, **progress)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.TrainingState, "save", save_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train_extractor(ExtractorConfig(**TINY), tmp_path / "resumed")
    monkeypatch.setattr(checkpoint.TrainingState, "save", real)
    resumed = train_extractor(ExtractorConfig(**TINY), tmp_path / "resumed")
    assert all(torch.equal(straight[name], value) for name, value in resumed.tensors().items())
    # the checkpoint of a run, as the recipe export_extractor.py takes it
    again = export_extractor(ExtractorConfig(**TINY), tmp_path, read_weights(tmp_path / "resumed" / "last.pt"), [], {})
    assert again.card.sha256 == resumed.card.sha256 and not any("projections" in name for name in again.tensors())


@pytest.mark.parametrize("setting", [{"levels": [3]}, {"levels": [1, 1]}, {"window": (40, 64, 64)}])
def test_settings_that_make_no_sense_are_refused(setting):
    with pytest.raises(ValueError, match=r"levels|window"):
        ExtractorConfig(**{**TINY, **setting})
