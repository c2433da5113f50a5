"""Every file of the example data reads, lies where nibabel says, and goes to the model's grid and back."""

import json

import nibabel
import numpy as np
import pytest

from dropiris.files import list_scans, read_labels, read_volume, write_labels
from dropiris.geometry import CanonicalGrid
from dropiris.intensity import looks_like_ct

# Cases whose axes run L, P, S; L, I, A and P, I, R among others
TURNED = ["Dataset003_AbdomenCT", "Dataset006_BrainT1", "Dataset007_BraTS", "Dataset008_Spine"]


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_every_scan_reads_and_ct_is_told_from_mr(shared_data):
    scans = [p for folder in sorted(shared_data.glob("*/images*")) for p in list_scans(folder)]
    assert len(scans) > 200
    for path in scans:
        volume = read_volume(path)
        assert np.allclose(volume.affine, nibabel.load(path).affine), path.name
        modality = json.loads((path.parents[1] / "dataset.json").read_text(encoding="utf-8"))["modality"]
        if "Spine" not in str(path):
            assert looks_like_ct(volume) == ("CT" in modality), path.name
        else:
            assert looks_like_ct(volume) == ("ct" in path.name), path.name


def test_every_label_map_reads_with_the_names_of_its_dataset(shared_data):
    maps = sorted(shared_data.glob("*/labels*/*.nii.gz"))
    assert len(maps) > 200
    for path in maps:
        (labels,) = read_labels(path)
        stored = np.asarray(nibabel.load(path).dataobj)
        assert np.array_equal(labels.array, stored), path.name
        occurring = np.flatnonzero(np.bincount(labels.array.ravel(order="K")))
        assert {s.label for s in labels.structures} == set(occurring) - {0}, path.name
        assert not any(s.name.startswith("label ") for s in labels.structures), path.name


@pytest.mark.parametrize("dataset", TURNED)
def test_turned_cases_come_back_bit_exact_through_grid_and_disk(shared_data, tmp_path, dataset):
    for path in sorted((shared_data / dataset).glob("labels*/*.nii.gz")):
        (labels,) = read_labels(path)
        grid = CanonicalGrid.over(labels.shape, labels.affine, None)
        assert nibabel.aff2axcodes(grid.affine) == ("R", "A", "S")
        assert np.array_equal(grid.labels_to_source(grid.labels_to_model(labels.array)), labels.array), path.name
        for ending in (".nii.gz", ".seg.nrrd"):
            write_labels(labels, tmp_path / f"back{ending}")
            (back,) = read_labels(tmp_path / f"back{ending}")
            assert np.array_equal(back.array, labels.array), path.name
            assert [(s.label, s.name) for s in back.structures] == [(s.label, s.name) for s in labels.structures]
            assert np.allclose(back.affine, labels.affine, atol=1e-4)


@pytest.mark.parametrize(("spacing", "least"), [((1.5, 1.5, 1.5), 0.97), ((3.0, 3.0, 3.0), 0.93)])
def test_organs_survive_the_model_grid(shared_data, spacing, least):
    for dataset, name in (("Dataset003_AbdomenCT", "chaosct01"), ("Dataset009_SpleenCT", "spleen2")):
        (labels,) = read_labels(next((shared_data / dataset).glob(f"labels*/{name}.nii.gz")))
        grid = CanonicalGrid.over(labels.shape, labels.affine, spacing)
        back = grid.labels_to_source(grid.labels_to_model(labels.array))
        for structure in labels.structures:
            there = labels.mask(structure)
            assert dice(back == structure.label, there) > least, structure.name
