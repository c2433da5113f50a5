"""MSD, BIDS derivatives and MONAI Label folders become nnU-Net datasets: same voxels, same place, same names."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from dropiris.curation.check import check_datasets
from dropiris.files import read_labels, read_volume, write_labels
from dropiris.terminology import parse_terminology_entry
from dropiris.volume import LabelMap, Structure


def table(folder):
    return json.loads((folder / "dataset.json").read_text(encoding="utf-8"))


def same(path, array, affine):
    image = nibabel.load(path)
    assert np.array_equal(np.asarray(image.dataobj), array), path.name
    assert np.allclose(image.affine, affine, atol=1e-4), path.name
    assert image.header["sform_code"] == image.header["qform_code"] == 1


def errors(folder):
    return [f.sentence for f in check_datasets([folder], pictures=False).findings if f.severity == "error"]


@pytest.fixture
def msd(small, tmp_path):
    """Two channels in the fourth dimension, as Task01 and Task05 have them."""
    root = tmp_path / "Task05_Prostate"
    for n in (0, 1):
        small.save(root / "imagesTr" / f"p_0{n}.nii.gz", np.stack([small.scan(n), small.scan(n + 10)], -1))
        small.save(root / "labelsTr" / f"p_0{n}.nii.gz", small.labels)
    small.save(root / "imagesTs" / "p_09.nii.gz", np.stack([small.scan(9)] * 2, -1))
    (root / "dataset.json").write_text(
        json.dumps(
            {
                "name": "PROSTATE", "description": "two zones", "reference": "Radboud", "licence": "CC-BY-SA 4.0",
                "tensorImageSize": "4D", "modality": {"0": "T2", "1": "ADC"},
                "labels": {"0": "background", "1": "liver", "2": "spleen", "3": "tumour", "4": "never"},
                "numTraining": 2, "numTest": 1,
                "training": [
                    {"image": f"./imagesTr/p_0{n}.nii.gz", "label": f"./labelsTr/p_0{n}.nii.gz"} for n in (0, 1)
                ],
                "test": ["./imagesTs/p_09.nii.gz"],
            }
        )
    )  # fmt: skip
    return root


def test_msd_channels_become_files_and_ids_stay(small, msd, convert, tmp_path):
    target = tmp_path / "Dataset005_Prostate"
    done = convert(msd, "-o", target)
    assert done.exit_code == 0, done.output
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*.nii.gz")) == [
        "imagesTr/p_00_0000.nii.gz", "imagesTr/p_00_0001.nii.gz", "imagesTr/p_01_0000.nii.gz",
        "imagesTr/p_01_0001.nii.gz", "imagesTs/p_09_0000.nii.gz", "imagesTs/p_09_0001.nii.gz",
        "labelsTr/p_00.nii.gz", "labelsTr/p_01.nii.gz",
    ]  # fmt: skip
    same(target / "imagesTr" / "p_01_0001.nii.gz", small.scan(11), small.affine)
    same(target / "labelsTr" / "p_01.nii.gz", small.labels, small.affine)
    about = table(target)
    assert about["channel_names"] == {"0": "T2", "1": "ADC"} and about["numTraining"] == 2
    assert about["labels"] == {"background": 0, "liver": 1, "spleen": 2, "tumour": 3, "never": 4}
    assert (about["licence"], about["source"], about["file_ending"]) == ("CC-BY-SA 4.0", "Radboud", ".nii.gz")
    assert errors(target) == []
    codes = {
        s.name: parse_terminology_entry(s.terminology)
        for s in read_labels(target / "labelsTr/p_00.nii.gz")[0].structures
    }
    assert codes["liver"][0].value == "10200004"


def test_a_failure_leaves_nothing_and_names_the_case(small, msd, convert, tmp_path):
    target = tmp_path / "out"
    whole = (msd / "imagesTr" / "p_01.nii.gz").read_bytes()
    (msd / "imagesTr" / "p_01.nii.gz").write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.iterdir())
    done = convert(msd, "-o", target)
    assert done.exit_code == 1 and "p_01: p_01.nii.gz is damaged" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and sorted(tmp_path.iterdir()) == before
    done = convert(msd, "-o", target, "--skip-broken")
    assert done.exit_code == 0 and "Left out: p_01" in done.stderr
    assert table(target)["numTraining"] == 1 and not list(target.glob("*/p_01*"))
    done = convert(msd, "-o", target)
    assert done.exit_code == 1 and "exists already" in done.stderr


def test_labels_of_another_grid_are_refused(small, msd, convert, tmp_path):
    moved = small.affine.copy()
    moved[0, 3] += 0.1  # a sixth of a voxel
    small.save(msd / "labelsTr" / "p_00.nii.gz", small.labels, moved)
    done = convert(msd, "-o", tmp_path / "out")
    assert done.exit_code == 1 and "another voxel grid" in done.stderr


@pytest.fixture
def bids(small, tmp_path):
    root = tmp_path / "study"
    for n, sub in enumerate(("01", "02")):
        anat = root / f"sub-{sub}" / "anat"
        small.save(anat / f"sub-{sub}_T1w.nii.gz", small.scan(n))
        small.save(anat / f"sub-{sub}_T2w.nii.gz", small.scan(n)[:, :, :4])  # another grid
        derived = root / "derivatives" / "seg" / f"sub-{sub}" / "anat"
        values = np.array([0, 17, 53, 10], np.int16)[small.labels]
        small.save(derived / f"sub-{sub}_space-orig_desc-aseg_dseg.nii.gz", values)
    (root / "derivatives" / "seg" / "desc-aseg_dseg.tsv").write_text(
        "index\tname\tcolor\n0\tUnknown\t#000000\n17\tLeft-Hippocampus\t#DCD814\n53\tRight-Hippocampus\t#DCD815\n10\tLeft-Thalamus\t#00760E\n99\tnever\t#000001\n"
    )
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "My study", "BIDSVersion": "1.9.0", "License": "CC0", "DatasetDOI": "doi:10.1/x"})
    )
    return root


@pytest.mark.parametrize("start", [".", "derivatives/seg"])
def test_bids_takes_the_scan_on_the_grid_and_the_names_of_the_table(small, bids, convert, tmp_path, start):
    target = tmp_path / "Dataset006_Study"
    done = convert(bids / start, "-o", target)
    assert done.exit_code == 0, done.output
    about = table(target)
    assert about["channel_names"] == {"0": "T1w"} and (about["licence"], about["source"]) == ("CC0", "doi:10.1/x")
    # ids without gaps; what never occurs is no label
    assert about["labels"] == {"background": 0, "Left-Thalamus": 1, "Left-Hippocampus": 2, "Right-Hippocampus": 3}
    same(target / "imagesTr" / "sub-01_0000.nii.gz", small.scan(0), small.affine)
    same(target / "labelsTr" / "sub-02.nii.gz", np.array([0, 2, 3, 1], np.uint8)[small.labels], small.affine)
    hippocampus = next(s for s in read_labels(target / "labelsTr/sub-01.nii.gz")[0].structures if "Left-H" in s.name)
    assert hippocampus.color == pytest.approx((0xDC / 255, 0xD8 / 255, 0x14 / 255), abs=1e-3)
    assert parse_terminology_entry(hippocampus.terminology)[1].meaning == "Left"
    assert errors(target) == []


def test_of_several_bids_segmentations_one_kind_is_chosen(small, bids, convert, tmp_path):
    anat = bids / "derivatives" / "seg" / "sub-01" / "anat"
    small.save(anat / "sub-01_space-orig_desc-parc_dseg.nii.gz", small.labels)
    done = convert(bids, "-o", tmp_path / "out")
    assert done.exit_code == 1 and "desc-aseg and desc-parc" in done.stderr and "--desc" in done.stderr
    done = convert(bids, "-o", tmp_path / "out", "--desc", "aseg")
    assert done.exit_code == 0 and table(tmp_path / "out")["numTraining"] == 2
    (bids / "sub-02" / "anat" / "sub-02_T1w.nii.gz").unlink()
    done = convert(bids, "-o", tmp_path / "out2", "--desc", "aseg")
    assert done.exit_code == 1 and "No scan of sub-02" in done.stderr


@pytest.fixture
def monailabel(small, tmp_path):
    root = tmp_path / "studies"
    final = root / "labels" / "final"
    for n, name in enumerate(("a", "b", "waiting")):
        small.save(root / f"{name}.nii.gz", small.scan(n))
    small.save(final / "a.nii.gz", small.labels)
    small.save(root / "labels" / "original" / "waiting.nii.gz", small.labels)
    rows = [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}, {"name": "tumour", "idx": 3}]
    (root / "datastore_v2.json").write_text(
        json.dumps(
            {
                "name": "new-dataset", "description": "", "images_dir": ".", "labels_dir": "labels",
                "objects": {
                    "a": {
                        "image": {"ext": ".nii.gz", "info": {}},
                        "labels": {"final": {"ext": ".nii.gz", "info": {"params": {"label_info": rows}}}},
                    }
                },
            }
        )
    )  # fmt: skip
    # b came as a segmentation with two layers that overlap
    layers = [
        LabelMap((small.labels > 0).astype(np.uint8), small.affine, (Structure(1, "trunk"),)),
        LabelMap((small.labels == 3).astype(np.uint8), small.affine, (Structure(1, "tumour"),)),
    ]
    write_labels(layers, final / "b.seg.nrrd")
    return root


def test_monai_label_takes_what_people_submitted(small, monailabel, convert, tmp_path):
    target = tmp_path / "Dataset007_Studies"
    done = convert(monailabel, "-o", target, "--licence", "CC0")
    assert done.exit_code == 0, done.output
    about = table(target)
    assert about["labels"] == {"background": 0, "liver": 1, "spleen": 2, "tumour": 3, "trunk": 4}
    assert about["numTraining"] == 2 and "1 scans without final labels" in about["notes"] and about["licence"] == "CC0"
    same(target / "labelsTr" / "a.nii.gz", small.labels, small.affine)
    # the smaller structure stays on the larger one
    overlaid = np.where(small.labels == 3, 3, np.where(small.labels > 0, 4, 0)).astype(np.uint8)
    same(target / "labelsTr" / "b.nii.gz", overlaid, small.affine)
    assert "b: trunk gave 8 voxels to smaller structures" in done.stderr
    (monailabel / "b.nii.gz").unlink()
    assert "scan of b is missing" in convert(monailabel, "-o", tmp_path / "out").stderr


def test_what_has_no_known_layout_is_one_sentence(convert, msd, tmp_path):
    (tmp_path / "empty").mkdir()
    done = convert(tmp_path / "empty", "-o", tmp_path / "out")
    assert done.exit_code == 1 and "none of MSD" in done.stderr
    assert convert(msd, "-o", tmp_path / "Dataset001_P").exit_code == 0
    done = convert(tmp_path / "Dataset001_P", "-o", tmp_path / "out")
    assert done.exit_code == 1 and "layout already" in done.stderr
    assert read_volume(tmp_path / "Dataset001_P" / "imagesTs" / "p_09_0000.nii.gz").shape == (14, 12, 8)


def test_a_real_scan_survives_the_way_through_every_file_layout(shared_data, small, convert, tmp_path):
    """One anisotropic CT crop, laid out as MSD, as BIDS and as MONAI Label; voxels and place stay what they were."""
    source = shared_data / "Dataset009_SpleenCT"
    image, labels = (nibabel.load(next((source / name).glob("spleen2*"))) for name in ("imagesTs", "labelsTs"))
    for layout, scan, label in (
        ("msd", "imagesTr/s.nii.gz", "labelsTr/s.nii.gz"),
        ("bids", "sub-s/ct/sub-s_ct.nii.gz", "derivatives/x/sub-s/ct/sub-s_dseg.nii.gz"),
        ("monailabel", "s.nii.gz", "labels/final/s.nii.gz"),
    ):
        root, target = tmp_path / layout, tmp_path / f"Dataset009_{layout}"
        for path, volume in ((scan, image), (label, labels)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(volume, root / path)
        pair = {"image": scan, "label": label}
        if layout == "msd":
            text = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "spleen"}, "training": [pair]}
            (root / "dataset.json").write_text(json.dumps(text))
        done = convert(root, "-o", target)
        assert done.exit_code == 0, done.output
        for folder, volume in (("imagesTr", image), ("labelsTr", labels)):
            same(next((target / folder).iterdir()), np.asarray(volume.dataobj), volume.affine)
