"""Episodes: a reference and a query of one dataset, the same at every run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dropiris.data.episodes import EpisodeDataset
from dropiris.data.nnunet import Dataset
from dropiris.data.synthesis import synthesise
from dropiris.data.training_scan import Asked
from dropiris.errors import InputError
from dropiris.train.iris import load_scans
from dropiris.train.iris_config import IrisConfig


@pytest.fixture(scope="module")
def scans(blob_dataset):
    return load_scans(Dataset.open(blob_dataset))


def episodes(scans, **settings):
    return EpisodeDataset([scans], IrisConfig(data=["blobs"], window=(32, 32, 32), precision="32-true", **settings))


def test_a_step_gives_the_same_episode_again_and_another_seed_another(scans):
    first, again, other = (episodes(scans, seed=s)[7, 0] for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.query, other.query)


def test_the_reference_shows_every_class_asked_for(scans):
    made = episodes(scans, max_classes=2, batch_size=2)
    for step in range(12):
        episode, other = made[step, 0], made[step, 1]
        assert episode.reference_masks.shape == other.query_masks.shape  # a batch has one number of classes
        assert float(episode.reference_masks.sum((1, 2, 3)).amin()) > 0
        assert torch.isfinite(episode.reference).all()


def test_masks_lie_on_the_structure(scans):
    """The ball is bright: under its mask the window is brighter than around it, turned and mirrored as it may be."""
    made = episodes(scans, max_classes=1, negatives=0.0)
    brighter = 0
    for step in range(20):
        episode = made[step, 0]
        inside = episode.query_masks[0] > 0.5
        if inside.sum() > 20:
            image = episode.query[0]
            brighter += bool((image[inside].mean() - image[~inside].mean()).abs() > 0.5)
    assert brighter >= 15


def test_a_label_map_without_image_is_rendered(scans, blob_dataset, tmp_path):
    folder = tmp_path / "Dataset902_Labels"
    (folder / "labelsTr").mkdir(parents=True)
    for path in (blob_dataset / "labelsTr").iterdir():
        (folder / "labelsTr" / path.name).write_bytes(path.read_bytes())
    (folder / "dataset.json").write_bytes((blob_dataset / "dataset.json").read_bytes())
    rendered = episodes(load_scans(Dataset.open(folder)), contrast_change=1.0)[0, 0]
    assert rendered.reference.std() > 0 and np.isfinite(rendered.query.numpy()).all()


def test_a_folder_without_dataset_json_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"has no dataset\.json"):
        Dataset.open(tmp_path)


def test_a_label_without_its_image_is_named(blob_dataset, tmp_path):
    folder = tmp_path / "Dataset903_Broken"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    (folder / "dataset.json").write_bytes((blob_dataset / "dataset.json").read_bytes())
    label = next((blob_dataset / "labelsTr").glob("*.nii.gz"))
    (folder / "labelsTr" / label.name).write_bytes(label.read_bytes())
    with pytest.raises(InputError, match="its label map exists"):
        Dataset.open(folder).cases()


def test_episodes_of_random_shapes_show_each_shape_in_both_windows_and_are_no_class(scans):
    made = episodes(scans, max_classes=3, shapes=0.999)
    for step in range(6):
        episode = made[step, 0]
        shown = [masks.sum((1, 2, 3)) for masks in (episode.reference_masks, episode.query_masks)]
        assert min(float(part.min()) for part in shown) >= 24
        assert (episode.classes == -1).all() and torch.isfinite(episode.query).all()
        overlap = (episode.reference_masks * episode.query_masks).sum() / episode.query_masks.sum()
        assert 0.05 < float(overlap) < 0.999  # bent, not shuffled


def test_datasets_are_drawn_alike_unless_weights_say_otherwise(scans):
    config = {"data": ["a", "b"], "window": (32, 32, 32), "precision": "32-true", "max_classes": 1, "negatives": 0.0}
    ball = [replace(scan, contents={"ball": scan.contents["ball"]}) for scan in scans]
    box = [replace(scan, contents={"box": scan.contents["box"]}) for scan in scans[:1]]
    for weights, low, high in ((None, 0.3, 0.7), ([1.0, 0.0], 1.0, 1.0)):
        made = EpisodeDataset([ball, box], IrisConfig(weights=weights, mirror=0.0, **config))
        drawn = [int(made[step, 0].classes[0]) for step in range(40)]
        share = drawn.count(0) / max(1, len([c for c in drawn if c >= 0]))
        assert low <= share <= high


def test_one_weight_for_each_dataset_or_none():
    with pytest.raises(ValueError, match="one for each"):
        IrisConfig(data=["a", "b"], weights=[1.0])


def test_one_contrast_is_one_contrast_although_a_scan_lacks_a_structure(scans, blob_dataset):
    """Numbers of a scan have no gaps: where the ball is missing, the box has the ball's number."""
    from dropiris.data.synthesis import Contrast
    from dropiris.data.training_scan import groups_of

    dataset = Dataset.open(blob_dataset)
    whole, lacking = groups_of(np.array([1, 3]), dataset), groups_of(np.array([3]), dataset)
    assert whole[2] == lacking[1] != whole[1]
    drawn = Contrast.draw(1, 3, np.random.default_rng(0))
    assert drawn.of(whole).mean[0, 2] == drawn.of(lacking).mean[0, 1]
    assert groups_of(np.array([1, 9]), dataset)[2] not in whole


def test_structures_that_are_left_out_are_never_asked_for(blob_dataset):
    scans = load_scans(Dataset.open(blob_dataset), asked=Asked(left_out=["bo*"]))
    assert {name for scan in scans for name in scan.contents} == {"ball"}


def test_a_union_is_asked_for_as_one_structure(blob_dataset):
    dataset = Dataset.open(blob_dataset)
    scan = load_scans(dataset, asked=Asked(unions={"both": ["ball", "box"], "alone": ["ba*"]}))[0]
    assert set(scan.contents) == {"ball", "box", "both"}  # one structure is no union
    both, parts = scan.contents["both"], [scan.contents["ball"], scan.contents["box"]]
    assert set(both.values) == {value for part in parts for value in part.values}
    assert np.array_equal(both.low, np.minimum(*(part.low for part in parts)))
    config = IrisConfig(data=[blob_dataset], window=(48, 48, 48), max_classes=1, rotation=0, scaling=0)
    union, part = (
        EpisodeDataset([[replace(scan, contents={name: replace(scan.contents[name], spacing=2.0)})]], config)[0, 0]
        for name in ("both", "ball")
    )
    assert union.reference_masks.sum() > part.reference_masks.sum() > 0


def test_a_union_is_not_asked_for_where_a_part_was_not_annotated():
    """The part that nobody drew would be background in the union's mask."""
    structures, asked = {"left": 1, "right": 2, "other": 3}, Asked(unions={"both": ["left", "right"]})
    assert asked.of(structures, structures) == {"left": [1], "right": [2], "other": [3], "both": [1, 2]}
    assert asked.of(structures, ["left", "other"]) == {"left": [1], "other": [3]}


def test_scans_are_rendered_from_their_labels_where_asked(blob_dataset, monkeypatch):
    """The share of windows that show another contrast than the image; what nobody labelled is cut into parts."""
    dataset = Dataset.open(blob_dataset)
    scan = load_scans(dataset, clusters=4)[0]
    assert scan.labels.max() > max(max(content.values) for content in scan.contents.values())
    assert len(scan.groups) > scan.labels.max()
    config = IrisConfig(data=[blob_dataset], window=(48, 48, 48), intensity_probability=0, invert=0, rotation=0)
    drawn = []
    monkeypatch.setattr("dropiris.data.episodes.synthesise", lambda *what: drawn.append(1) or synthesise(*what))
    for share, images in ((0.0, 0), (1.0, 2)):
        drawn.clear()
        episode = EpisodeDataset([[scan]], config.model_copy(update={"rendered": share}))[0, 0]
        assert len(drawn) == images and episode.reference_masks.sum() > 0


def test_heads_are_rendered_as_sequences_where_asked(blob_dataset, tmp_path):
    """Fluid is brighter than white matter in T2 alone; one sequence in both windows unless the contrast changes."""
    from dropiris.data.sequences import sequence_shift, tissues_of, with_sequence
    from dropiris.data.synthesis import Contrast

    tissues = tissues_of(["cerebral white matter", "lateral ventricle", "skin"])
    assert tissues.tolist()[0] == tissues.tolist()[3] == -1
    rng = np.random.default_rng(0)
    drawn = Contrast.draw(1, 4, rng)
    for sequence in ("T1", "T2", "FLAIR", "CT"):
        mean = with_sequence(drawn, tissues, sequence, sequence_shift(rng)).mean[0]
        assert (mean[2] > mean[1]) == (sequence == "T2") and mean[3] == drawn.mean[0, 3]

    dataset = Dataset.open(blob_dataset)
    assert load_scans(dataset)[0].tissues.size == 0
    brain = replace(dataset, structures={"left_cerebral_white_matter": 1, "left_lateral_ventricle": 3})
    scan = replace(load_scans(brain)[0], levels=[])
    assert scan.tissues.max() >= 0
    for change in (0.0, 1.0):
        made = episodes([scan], sequences=1.0, contrast_change=change)
        looks = made._looks((scan, scan), np.random.default_rng(1))
        assert torch.equal(looks[0].contrast.mean, looks[1].contrast.mean) == (change == 0.0)
        assert all(look.appearance is not None for look in looks)


def test_a_remapped_window_keeps_its_edges_and_range():
    from dropiris.data.intensity_augmentation import remap

    image = torch.linspace(-2, 3, 64).repeat(1, 4, 4, 1)
    changed = remap(image, np.random.default_rng(0))
    assert changed.min() >= -2 - 1e-5 and changed.max() <= 3 + 1e-5
    assert not torch.allclose(changed, image)
    assert remap(torch.full((1, 4, 4, 4), 7.0), np.random.default_rng(0)).isfinite().all()
