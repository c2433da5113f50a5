"""Crops and scans rendered from label maps: what they show is where the labels say, in the contrast asked for."""

import json

import numpy as np
import pytest
import torch

from dropiris.data.labelled_scan import load_labelled_scan
from dropiris.data.nnunet import Dataset, merge
from dropiris.data.rendered_patches import RenderedPatches, load_rendered
from dropiris.data.rendered_volume import MARGIN, rendered_volume
from dropiris.data.sequences import SEQUENCES, sequence_contrast
from dropiris.data.synthesis import Appearance
from dropiris.errors import InputError
from dropiris.files import write_labels
from dropiris.train import train_dropgen
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.volume import LabelMap

NAMES = {"left_cerebral_white_matter": 2, "right_cerebral_white_matter": 41, "left_lateral_ventricle": 4}
NAMES |= {"right_lateral_ventricle": 43, "left_lateral_ventricle_part_136": 136, "extra_cerebral_502": 502}
MERGE = {
    "white matter": ["left_cerebral_white_matter", "right_cerebral_white_matter"],
    "left ventricle": ["left_lateral_ventricle", "left_lateral_ventricle_part_136"],
}


def head(seed: int) -> np.ndarray:
    """A skull, a brain of two halves and their ventricles, left-posterior-superior: left is at high first indices."""
    labels = np.zeros((44, 40, 36), np.int32)
    grid = np.stack(np.meshgrid(*map(np.arange, labels.shape), indexing="ij"), -1) - np.array([22, 20, 18])
    radius = np.linalg.norm(grid / [1.1, 1.0, 0.9], axis=-1) + 0.1 * seed
    labels[radius < 16], labels[radius < 13] = 502, 41
    labels[(radius < 13) & (grid[..., 0] > 0)] = 2
    labels[18:21, 14:26, 14:22], labels[24:27, 14:26, 14:22], labels[24:27, 14:17, 14:22] = 43, 4, 136
    return labels


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Dataset903_Heads"
    (folder / "labelsTr").mkdir(parents=True)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:3, 3] = 20, 20, -18
    for number in range(3):
        write_labels(LabelMap(head(number), affine), folder / "labelsTr" / f"head{number}.nii.gz")
    table = {"labels": {"background": 0, **NAMES}, "channel_names": {"0": "synthetic"}, "licence": "CC0 1.0"}
    (folder / "dataset.json").write_text(json.dumps(table), encoding="utf-8")
    return Dataset.open(folder)


def config(heads, **more):
    fixed = {"window": (32, 32, 32), "downsamplings": 2, "base_width": 4, "merge": MERGE, "accelerator": "cpu"}
    fixed |= {"precision": "32-true", "ct_window": None, "workers": 0, "max_steps": 2, "spacing": (1.0, 1.0, 1.0)}
    return DropGenConfig(data=[heads.folder], **{**fixed, **more})


def test_structures_are_merged_and_what_is_in_no_group_is_background(heads):
    merged = heads.merge(MERGE)
    assert merged.structures == {"white matter": 1, "left ventricle": 2}
    labels = merged.cases()[0].read()[1].array
    own = heads.cases()[0].read()[1].array
    assert np.array_equal(labels, 1 * np.isin(own, [2, 41]) + 2 * np.isin(own, [4, 136]))
    assert merge(np.array([[5, 0], [7, 5]]), {5: 3}).tolist() == [[3, 0], [0, 3]]
    assert heads.merge({}) is heads
    with pytest.raises(InputError, match="did you mean 'left_lateral_ventricle'"):
        heads.merge({"x": ["left_lateral_ventricl"]})


@pytest.mark.parametrize("stripped", [0.0, 1.0])
def test_a_crop_shows_the_head_or_the_brain_alone_and_its_labels_are_the_models(heads, stripped):
    merged = heads.merge(MERGE)
    patches = RenderedPatches(
        [load_rendered(merged.cases()[0], merged)], config(heads, contrast="T1", stripped=stripped)
    )
    image, target = patches[0, 0]
    assert image.shape == target.shape == (1, 32, 32, 32) and set(target.unique().tolist()) == {0, 1, 2}
    white, fluid = image[target == 1].mean(), image[target == 2].mean()
    assert white > fluid + 0.25  # as T1 shows them
    again = patches[0, 0]
    assert torch.equal(image, again[0]) and not torch.equal(image, patches[0, 1][0])


def test_left_and_right_have_one_intensity_and_sequences_differ_as_they_should(heads):
    scan = load_labelled_scan(heads.cases()[0], heads)
    at = {int(value): number for number, value in enumerate(scan.values, start=1)}
    for sequence in SEQUENCES:
        mean = sequence_contrast(scan, sequence, np.random.default_rng(0)).mean[0]
        assert mean[at[2]] == mean[at[41]] and mean[at[4]] == mean[at[43]] == mean[at[136]]
        assert (mean[at[4]] > mean[at[2]]) == (sequence == "T2")
    with pytest.raises(ValueError, match="T1, T2, FLAIR, CT"):
        sequence_contrast(scan, "PET", np.random.default_rng(0))


def test_a_rendered_scan_lies_where_its_label_map_lies(heads):
    merged = heads.merge(MERGE)
    case = merged.cases()[0]
    plain = Appearance(texture=0, bias=0, gamma=0, blur=(0, 1e-6), coarse=0, ringing=0, noise=0, magnitude=0)
    volume, labels = rendered_volume(case, merged, "T2", np.random.default_rng(1), appearance=plain)
    assert volume.shape == labels.shape and np.allclose(volume.affine, labels.affine)
    own = case.read()[1]
    for value in (1, 2):
        there = np.c_[np.argwhere(labels.array == value), np.ones((labels.array == value).sum())] @ labels.affine.T
        here = np.c_[np.argwhere(own.array == value), np.ones((own.array == value).sum())] @ own.affine.T
        assert np.allclose(sorted(map(tuple, there.round(3))), sorted(map(tuple, here.round(3))))
    assert volume.array[labels.array == 2].mean() > volume.array[labels.array == 1].mean() + 0.2
    bare, _ = rendered_volume(case, merged, "T2", np.random.default_rng(1), stripped=True, appearance=plain)
    assert bare.shape == volume.shape and (bare.array > 0.3).sum() < (volume.array > 0.3).sum() + 1
    assert MARGIN > 0 and all(n <= m for n, m in zip(volume.shape, own.shape, strict=True))


def test_a_run_on_label_maps_ends_in_a_bundle_scored_in_every_sequence(heads, tmp_path):
    held = {"split": "Tr", "names": ["head2"]}
    settings = {"training": {"split": "Tr", "without": ["head2"]}, "validation": held, "extractor": "MIND-SSC"}
    bundle = train_dropgen(config(heads, **settings), tmp_path / "run")
    assert [s.name for s in bundle.card.structures] == list(MERGE)
    notes = {row["note"] for row in bundle.card.scores}
    assert notes == {f"rendered as {sequence}" for sequence in SEQUENCES}


def test_mixed_contrasts_are_random_as_often_as_asked(heads, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "dropiris.data.rendered_patches.sequence_contrast",
        lambda scan, kind, rng: asked.append(kind) or sequence_contrast(scan, kind, rng),
    )
    scans = [load_rendered(case, heads.merge(MERGE)) for case in heads.cases("Tr")[:1]]
    for share, low, high in ((1.0, 0, 0), (0.0, 40, 40), (0.5, 8, 32)):
        asked.clear()
        patches = RenderedPatches(scans, config(heads, contrast="mixed", random_share=share, window=(16, 16, 16)))
        assert all(patches[step, 0][0].isfinite().all() for step in range(40))
        assert low <= len(asked) <= high
        assert share == 1.0 or set(asked) == set(SEQUENCES)
