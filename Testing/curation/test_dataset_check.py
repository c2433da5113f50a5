"""``dropiris data check``: a sound dataset gives no complaint, and every fault put into one is found and named."""

from __future__ import annotations

import csv
import gzip
import json

import nibabel
import numpy as np
import pytest

from dropiris.curation.check import check_datasets


def sentences(dataset, severity=None, case=None):
    found = check_datasets([dataset.root], pictures=False).findings
    return [f.sentence for f in found if severity in (None, f.severity) and case in (None, f.case)]


def has(found, *words):
    return any(all(word in sentence for word in words) for sentence in found)


def test_a_sound_dataset_has_neither_errors_nor_warnings(dataset):
    assert sentences(dataset, "error") == [] and sentences(dataset, "warning") == []


def test_a_broken_case_is_named_and_the_others_are_checked(dataset):
    whole = (dataset.root / "imagesTr" / "p1_0000.nii.gz").read_bytes()
    (dataset.root / "imagesTr" / "p1_0000.nii.gz").write_bytes(whole[: len(whole) // 2])
    (dataset.root / "labelsTr" / "p2.nii.gz").write_bytes(gzip.compress(b"no scan"))
    image, labels = dataset.person(3)
    image = image.astype(np.float32)
    image[3, 3, :2] = np.nan
    dataset.add("Tr", "p3", image, labels)
    assert has(sentences(dataset, "error", "p1"), "p1_0000.nii.gz", "cut short")
    assert has(sentences(dataset, "error", "p2"), "p2.nii.gz", "damaged")
    assert sentences(dataset, "error", "p3") == [
        "p3_0000.nii.gz has 2 NaN or infinite voxels; replace them, for example by 0."
    ]


def test_files_that_are_missing_or_of_another_ending_are_told(dataset):
    (dataset.root / "imagesTr" / "p0_0000.nii.gz").unlink()
    (dataset.root / "labelsTr" / "p1.nii.gz").unlink()
    dataset.save(dataset.root / "imagesTr" / "p7_0000.nii", dataset.person(7)[0])
    dataset.save(dataset.root / "imagesTr" / "p8.nii.gz", dataset.person(8)[0])
    dataset.write(channel_names={"0": "T2", "1": "T1"}, numTraining=9, licence="")
    found = sentences(dataset, "error")
    for words in (
        ("imagesTr/p0_0000.nii.gz is missing",),
        ("labelsTr/p1.nii.gz is missing",),
        ("p7_0000.nii", "file_ending"),
        ("p8.nii.gz has no channel number",),
        ("p2_0001.nii.gz (T1) is missing",),
        ("numTraining is 9, but 5",),
    ):
        assert has(found, *words), (words, found)
    assert has(sentences(dataset, "warning"), "names no licence")


def test_grids_that_do_not_agree_are_measured(dataset):
    labels = dataset.person(0)[1]
    shifted, sheared = dataset.affine.copy(), dataset.affine.copy()
    shifted[0, 3] += 6
    sheared[1, 2] = 0.7
    dataset.save(dataset.root / "labelsTr" / "p0.nii.gz", labels, shifted)
    dataset.save(dataset.root / "labelsTr" / "p1.nii.gz", labels[:, :, :-1])
    dataset.add("Tr", "p2", *dataset.person(2), affine=sheared)
    assert has(sentences(dataset, "error", "p0"), "6 mm (2 voxels) apart")
    assert has(sentences(dataset, "error", "p1"), "26 x 20 x 16 and 26 x 20 x 15")
    assert has(sentences(dataset, "warning", "p2"), "not at right angles", "9.9")


def test_two_headers_in_one_file_that_disagree_are_told(dataset):
    image = nibabel.Nifti1Image(dataset.person(0)[0], dataset.affine)
    image.set_sform(dataset.affine, 1)
    image.set_qform(np.diag([3.0, 3, 4, 1]), 1)
    nibabel.save(image, dataset.root / "imagesTr" / "p0_0000.nii.gz")
    assert has(sentences(dataset, "warning", "p0"), "sform and qform", "apart")


def test_labels_that_should_not_be_there_or_never_are(dataset):
    image, labels = dataset.person(0)
    labels[0, 0, :3] = 9
    dataset.add("Tr", "p0", image, labels)
    dataset.add("Tr", "p1", dataset.person(1)[0], np.zeros(dataset.shape, np.uint8))
    soft = dataset.person(2)[1].astype(np.float32)
    soft[5, 5, 9] = 0.5
    dataset.add("Tr", "p2", dataset.person(2)[0], soft)
    dataset.write(labels={**dataset.table["labels"], "aorta": 7})
    assert has(sentences(dataset, "error", "p0"), "the value 9 (3 voxels)")
    assert has(sentences(dataset, "warning", "p1"), "Nothing is labelled")
    assert has(sentences(dataset, "error", "p2"), "holds 1 fraction")
    assert has(sentences(dataset, "warning"), "1 of 5 labels", "never occurs", "aorta")
    assert has(sentences(dataset, "warning"), "2 values between 0 and 7", "first is 5")


@pytest.mark.parametrize(("split", "severity"), [("Tr", "warning"), ("Ts", "error")])
def test_copies_are_found_whatever_their_header_and_type_say(dataset, split, severity):
    image, labels = dataset.person(0)
    moved = dataset.affine.copy()
    moved[:3, 3] += 50
    dataset.add(split, "q", image.astype(np.float32), labels, moved)
    # the same scan stored along other axes
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = dataset.shape[0] - 1
    dataset.add(split, "turned", image[::-1], labels[::-1], dataset.affine @ flip)
    dataset.write(numTraining=7 if split == "Tr" else 5)
    assert has(sentences(dataset, severity, "q"), "very voxels of Tr/p0, under another header")
    assert has(sentences(dataset, severity, "turned"), "very voxels of Tr/p0")
    rescaled = dataset.person(1)[0] * 1.7 + np.random.default_rng(0).normal(0, 2, dataset.shape)
    dataset.add(split, "rescaled", rescaled.astype(np.float32), None)
    assert has(sentences(dataset, "warning", "rescaled"), "nearly the same as Tr/p1")


def test_copies_across_datasets_are_found(dataset, tmp_path):
    other = type(dataset)(tmp_path / "Dataset002_Other")
    found = check_datasets([dataset.root, other.root], pictures=False).findings
    assert sum("the very voxels of Dataset001_Small Tr/p" in f.sentence for f in found) == 5


def test_intensities_voxels_and_orientation_that_stand_out(dataset):
    image, labels = dataset.person(0)
    dataset.add("Tr", "p0", image.astype(np.float32) * 1000, labels)
    dataset.add("Tr", "p1", *dataset.person(1), affine=dataset.affine @ np.diag([4.0, 4, 4, 1]))
    dataset.add("Tr", "p2", *(part[::-1] for part in dataset.person(2)), affine=np.diag([3.0, -3, 4, 1]))
    assert has(sentences(dataset, "warning"), "intensity scale", "-fold", "Tr/p0")
    assert has(sentences(dataset, "warning", "p1"), "voxels (12 x 12 x 16 mm)")
    assert has(sentences(dataset, "warning"), "LPS (4)", "RPS (1)")
    dataset.write(channel_names={"0": "CT"})
    assert has(sentences(dataset, "warning", "p3"), "called CT", "Hounsfield")


def test_air_that_is_not_the_darkest_is_told(dataset):
    image, labels = dataset.person(0)
    image = np.where(image == 0, 500, image).astype(np.int16)
    dataset.add("Tr", "p0", image, labels)
    assert has(sentences(dataset, "warning", "p0"), "is the constant 500", "darker")


def test_swapped_and_mirrored_sides_are_told(dataset):
    image, labels = dataset.person(0)
    swapped = np.choose(labels, [0, 1, 2, 4, 3]).astype(np.uint8)
    dataset.add("Tr", "p0", image, swapped)
    # image and labels both mirrored, and the labeller named sides as they look: only liver and spleen give it away
    image, labels = dataset.person(1)
    mirrored = np.choose(labels[::-1], [0, 1, 2, 4, 3]).astype(np.uint8)
    dataset.add("Tr", "p1", image[::-1], mirrored)
    assert has(sentences(dataset, "warning", "p0"), "left_kidney lies to the right of right_kidney")
    assert has(sentences(dataset, "warning", "p1"), "other way round than usual")
    assert not has(sentences(dataset, "warning", "p2"), "way round")


def test_pieces_of_the_wrong_side_are_told(dataset):
    image, labels = dataset.person(0)
    lowest = labels[:, :, np.argwhere(labels == 4)[:, 2].min()]
    lowest[lowest == 4] = 3  # the lowest slice of the right kidney carries the left one's label
    dataset.add("Tr", "p0", image, labels)
    assert has(sentences(dataset, "warning", "p0"), "in the other half", "kidney")


def test_partly_labelled_cases_are_known_suspected_and_checked(dataset):
    image, labels = dataset.person(0)
    dataset.add("Tr", "p0", image, np.where(labels == 2, 0, labels).astype(np.uint8))
    assert has(sentences(dataset, "warning", "p0"), "spleen is missing", "partially_labelled")
    dataset.write(partially_labelled={"p0": ["liver", "left_kidney"], "p9": ["liver"]}, model_output_labels=["p1"])
    assert not has(sentences(dataset, "warning", "p0"), "is missing")
    assert has(sentences(dataset, "error", "p0"), "right_kidney is labelled, though")
    assert has(sentences(dataset, "error"), "partially_labelled names p9")
    assert has(sentences(dataset, "note", "p1"), "A model made these labels")


def test_regions_and_the_ignore_label_of_nnunet_are_understood(dataset):
    image, labels = dataset.person(0)
    labels[0, 0, 0] = 5
    dataset.add("Tr", "p0", image, labels)
    regions = {"background": 0, "trunk": [1, 2, 3, 4], "kidneys": [3, 4], "ignore": 5}
    dataset.write(labels=regions, regions_class_order=[1, 3])
    assert sentences(dataset, "error") == [] and has(sentences(dataset, "note", "p0"), "carry the ignore label")
    dataset.write(labels={**regions, "ignore": 3})
    assert has(sentences(dataset, "error"), "ignore label is 3")


def test_a_table_that_cannot_be_read_hides_nothing_else(dataset):
    (dataset.root / "dataset.json").write_text("{")
    (dataset.root / "imagesTr" / "p0_0000.nii.gz").write_bytes(b"")
    found = sentences(dataset, "error")
    assert has(found, "dataset.json cannot be read") and has(found, "p0_0000.nii.gz is an empty file")


def test_neighbours_in_number_that_are_one_person_are_suspected(dataset):
    rng = np.random.default_rng(5)
    for n in range(1, 23, 2):
        image, labels = dataset.person(100 + n)
        for offset in (0, 1):
            noisy = (image + rng.normal(0, 150, dataset.shape)).astype(np.int16)
            dataset.add("Ts" if n == 3 and offset else "Tr", f"crop_{n + offset:03d}", noisy, labels)
    assert has(sentences(dataset, "warning"), "number before or after", "Tr/crop_003 and Ts/crop_004")


def test_the_command_writes_its_report_and_fails_on_errors(dataset, dropiris, tmp_path):
    done = dropiris("data", "check", dataset.root, "-o", tmp_path / "report")
    assert done.exit_code == 0, done.output
    assert "5 cases: 0 errors, 0 warnings" in done.output
    labels = dataset.person(0)[1]
    labels[0, 0, 0] = 9
    dataset.add("Tr", "p0", dataset.person(0)[0], labels)
    done = dropiris("data", "check", dataset.root, "-o", tmp_path / "report")
    assert done.exit_code == 1 and "the value 9 (1 voxel)" in " ".join(done.output.split())
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["findings.csv", "findings.json", "report.html"]
    with (tmp_path / "report" / "findings.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    told = json.loads((tmp_path / "report" / "findings.json").read_text(encoding="utf-8"))
    assert told["findings"] == rows and told["counts"]["error"] == 1
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert (
        page.count("data:image/jpeg;base64,") == 5 and "<script" not in page and "http" not in page.split("</head>")[1]
    )


def test_of_very_many_cases_only_the_suspect_ones_are_pictured(dataset, monkeypatch):
    monkeypatch.setattr("dropiris.curation.check.MOST_PICTURES", 3)
    dataset.add("Tr", "p2", dataset.person(2)[0], np.zeros(dataset.shape, np.uint8))
    (checked,) = check_datasets([dataset.root]).datasets
    assert [record.files.name for record in checked.records if record.picture] == ["p2"]


def test_what_is_no_dataset_is_one_sentence(dropiris, tmp_path):
    done = dropiris("data", "check", tmp_path / "nowhere")
    assert done.exit_code == 1 and "is no folder" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_the_quirks_of_the_example_data_are_found(shared_data):
    names = ("Dataset003_AbdomenCT", "Dataset008_Spine", "Dataset010_WholeBodyCT")
    found = check_datasets([shared_data / name for name in names], pictures=False).findings
    text = [f"{f.where}: {f.sentence}" for f in found]
    assert not [f for f in found if f.severity == "error"]
    for words in (
        ("Dataset010_WholeBodyCT Ts/totalseg_ct", "the very voxels of Dataset003_AbdomenCT Ts/totalseg_ct"),
        ("Dataset003_AbdomenCT Ts/chaosct01", "Only liver was annotated"),
        ("Dataset003_AbdomenCT Ts/totalseg_ct", "A model made these labels"),
        ("Dataset003_AbdomenCT Ts/totalseg_ct", "liver and spleen are cut off at the upper edge"),
        ("Dataset003_AbdomenCT", "LPS (1), RAS (1)"),
        ("Dataset008_Spine", "mixes Hounsfield units"),
        ("Dataset008_Spine", "nnU-Net refuses gaps"),
        ("Dataset010_WholeBodyCT", "56 of 117 labels"),
        ("Dataset010_WholeBodyCT Ts/totalseg_ct", "-1207 HU"),
    ):
        assert has(text, *words), words
