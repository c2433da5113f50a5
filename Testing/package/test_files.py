"""Scans and labels survive the disk: voxels, places, names, colours and codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import dropiris.files
from dropiris.errors import InputError
from dropiris.files import is_scan, list_scans, read_labels, read_volume, write_labels, write_volume
from dropiris.files.label_table import default_color
from dropiris.terminology import LEFT, Code, terminology_entry
from dropiris.volume import LabelMap, Structure, Volume

rng = np.random.default_rng(1)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix() * (1.1, 0.7, 3.3)
OBLIQUE[:3, 3] = (12.5, -40.25, 7.0)
KIDNEY = terminology_entry(Code("SCT", "64033007", "Kidney"), LEFT)
NAMES = ("left kidney", "foie gauche é", "脾臓", "a: b=c|d")


def scan(shape=(7, 6, 5), dtype=np.int16, affine=OBLIQUE):
    return Volume(rng.integers(0, 100, shape).astype(dtype), affine, "scan")


def labels(shape=(7, 6, 5), affine=OBLIQUE, kind=np.uint8):
    structures = (
        Structure(1, NAMES[0], (0.72, 0.4, 0.31), KIDNEY),
        Structure(2, NAMES[1], (0.0, 1.0, 0.25)),
        Structure(7, NAMES[2], (0.1, 0.2, 0.3)),
        Structure(200, NAMES[3], default_color(200)),
    )
    return LabelMap(rng.choice([0, 1, 2, 7], shape).astype(kind), affine, structures, "result")


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_scan_comes_back_voxel_for_voxel(tmp_path, ending, kind, order):
    volume = scan(dtype=kind)
    path = tmp_path / f"scan{ending}"
    write_volume(Volume(np.array(volume.array, order=order), OBLIQUE), path)
    back = read_volume(path)
    assert np.array_equal(back.array, volume.array)
    assert back.array.dtype == kind
    assert np.allclose(back.affine, OBLIQUE, atol=1e-5 if "nii" in ending else 0)
    assert back.name == path.name
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[st.floats(-180, 180)] * 3), st.tuples(*[st.floats(0.1, 9)] * 3), st.booleans())
def test_any_orientation_survives_every_format(tmp_path, angles, spacing, mirrored):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 0] *= -1 if mirrored else 1
    affine[:3, 3] = (-123.456, 78.9, 1001.0)
    for ending, tolerance in ((".nii.gz", 1e-4), (".nrrd", 1e-12), (".seg.nrrd", 1e-12)):
        path = tmp_path / f"labels{ending}"
        write_labels(labels(affine=affine), path)
        (back,) = read_labels(path)
        assert np.allclose(back.affine, affine, atol=tolerance)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".seg.nrrd"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64])
def test_labels_keep_names_colours_and_codes(tmp_path, ending, kind):
    before = labels(kind=kind)
    write_labels(before, tmp_path / f"result{ending}")
    (back,) = read_labels(tmp_path / f"result{ending}")
    assert np.array_equal(back.array, before.array)
    assert [(s.label, s.name, s.terminology) for s in back.structures] == [
        (s.label, s.name, s.terminology) for s in before.structures
    ]
    assert np.allclose([s.color for s in back.structures], [s.color for s in before.structures])


@pytest.mark.parametrize("folder", ["with space", "Ünïcödé 患者", "a" * 120])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".seg.nrrd"])
def test_any_folder_and_file_name_will_do(tmp_path, folder, ending):
    path = tmp_path / folder / f"Müller, Jörg (1) 脳{ending}"
    path.parent.mkdir()
    write_labels(labels(), path)
    assert read_labels(path)[0].structures[2].name == "脾臓"


def test_overlapping_layers_need_a_segmentation_file(tmp_path):
    one, two = labels(), LabelMap(np.full((7, 6, 5), 1, np.uint16), OBLIQUE, (Structure(1, "body", (1, 1, 0)),))
    with pytest.raises(InputError, match=r"cannot hold overlapping structures; write a \.seg\.nrrd"):
        write_labels([one, two], tmp_path / "x.nii.gz")
    write_labels([one, two], tmp_path / "x.seg.nrrd")
    back = read_labels(tmp_path / "x.seg.nrrd")
    assert [len(layer.structures) for layer in back] == [4, 1]
    assert np.array_equal(back[0].array, one.array)
    assert np.array_equal(back[1].array, two.array)
    assert np.allclose(back[1].affine, OBLIQUE)


def test_segments_of_old_slicer_files_each_have_a_layer(tmp_path):
    path = tmp_path / "old.seg.nrrd"
    two = LabelMap(np.ones((3, 4, 5), np.uint8), OBLIQUE, (Structure(1, "b"),))
    write_labels(
        [LabelMap(np.eye(3, 4, dtype=np.uint8)[..., None].repeat(5, 2), OBLIQUE, (Structure(1, "a"),)), two], path
    )
    data = path.read_bytes()
    head, body = data.split(b"\n\n", 1)
    kept = [line for line in head.split(b"\n") if b"_Layer" not in line and b"_LabelValue" not in line]
    path.write_bytes(b"\n".join(kept) + b"\n\n" + body)
    back = read_labels(path)
    assert [[s.name for s in layer.structures] for layer in back] == [["a"], ["b"]]


def test_a_cropped_segmentation_is_put_back_on_the_scan(tmp_path):
    volume = scan((9, 8, 7))
    affine = OBLIQUE.copy()
    affine[:3, 3] = (OBLIQUE @ [2, 6, 1, 1])[:3]
    affine[:3, 1] *= -1  # and stored with an axis the other way round
    crop = LabelMap(rng.integers(0, 3, (3, 4, 5)).astype(np.uint8), affine, (Structure(1, "a"), Structure(2, "b")))
    write_labels(crop, tmp_path / "crop.seg.nrrd")
    (placed,) = read_labels(tmp_path / "crop.seg.nrrd", like=volume)
    expected = np.zeros((9, 8, 7), np.uint8)
    expected[2:5, 3:7, 1:6] = crop.array[:, ::-1, :]
    assert np.array_equal(placed.array, expected)
    assert placed.affine is volume.affine or np.array_equal(placed.affine, volume.affine)


def test_labels_between_the_voxels_of_the_scan_are_refused(tmp_path):
    affine = OBLIQUE.copy()
    affine[:3, 3] += 0.4
    write_labels(labels(affine=affine), tmp_path / "shifted.nrrd")
    with pytest.raises(InputError, match=r"^shifted\.nrrd lies on another voxel grid than scan"):
        read_labels(tmp_path / "shifted.nrrd", like=scan())


def test_names_come_from_an_nnunet_dataset(tmp_path):
    folder = tmp_path / "Dataset001" / "labelsTr"
    folder.mkdir(parents=True)
    names = {"labels": {"background": 0, "liver": 1, "whole": [1, 2]}}
    (folder.parent / "dataset.json").write_text(json.dumps(names), encoding="utf-8")
    nibabel.save(nibabel.Nifti1Image(labels().array, np.eye(4)), folder / "a.nii.gz")
    assert [s.name for s in read_labels(folder / "a.nii.gz")[0].structures] == ["liver", "label 2", "label 7"]
    (folder.parent / "dataset.json").write_text('{"labels": {"0": "background", "1": "leber"}}', encoding="utf-8")
    assert read_labels(folder / "a.nii.gz")[0].structures[0].name == "leber"


def test_unnamed_labels_get_a_number_and_a_colour_of_their_own(tmp_path):
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    (back,) = read_labels(tmp_path / "a.nii.gz")
    assert back.array.dtype == np.uint8, "whole numbers stored as float are labels"
    assert back.structures[4].name == "label 5"
    assert len({s.color for s in back.structures}) == 59


def test_the_json_a_converter_wrote_beside_a_scan_keeps_its_content(tmp_path):
    (tmp_path / "a.json").write_text('{"EchoTime": 0.03}', encoding="utf-8")
    write_labels(labels(), tmp_path / "a.nii.gz")
    table = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert table["EchoTime"] == 0.03
    assert len(table["structures"]) == 4
    (tmp_path / "b.json").write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(InputError, match=r"^b\.json is in the way"):
        write_labels(labels(), tmp_path / "b.nii.gz")
    assert not (tmp_path / "b.nii.gz").exists()


def test_nifti_says_both_ways_where_it_lies(tmp_path):
    write_volume(scan(), tmp_path / "a.nii.gz")
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert np.allclose(header.get_qform(), OBLIQUE, atol=1e-4)


def test_a_tilted_gantry_survives_and_claims_no_right_angles(tmp_path):
    tilted = np.diag([0.8, 0.8, 3.0, 1.0])
    tilted[1, 2] = 1.2
    write_volume(scan(affine=tilted), tmp_path / "a.nii.gz")
    assert np.allclose(read_volume(tmp_path / "a.nii.gz").affine, tilted, atol=1e-5)
    assert int(nibabel.load(tmp_path / "a.nii.gz").header["qform_code"]) == 0


def test_scaled_and_big_endian_voxels_are_read_as_they_are_meant(tmp_path):
    stored = scan(dtype=">i2").array
    image = nibabel.Nifti1Image(stored, np.eye(4), nibabel.Nifti1Header(endianness=">"))
    nibabel.save(image, tmp_path / "big.nii")
    back = read_volume(tmp_path / "big.nii")
    assert back.array.dtype.isnative
    assert np.array_equal(back.array, stored)
    image = nibabel.Nifti1Image(stored.astype(np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "scaled.nii")
    data = bytearray((tmp_path / "scaled.nii").read_bytes())
    data[112:120] = np.float32([2, -1024]).tobytes()  # scl_slope, scl_inter
    (tmp_path / "scaled.nii").write_bytes(data)
    back = read_volume(tmp_path / "scaled.nii")
    assert back.array.dtype == np.float32
    assert np.array_equal(back.array, stored * 2.0 - 1024.0)


def test_a_nifti_in_metres_is_read_in_millimetres(tmp_path):
    image = nibabel.Nifti1Image(scan().array, np.diag([0.001, 0.001, 0.002, 1.0]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "m.nii.gz")
    assert np.allclose(read_volume(tmp_path / "m.nii.gz").spacing, (1, 1, 2))


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "result.nii.gz"
    write_labels(labels(), path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for failure in (KeyboardInterrupt, OSError(28, "No space left on device")):

        def fail(*_, failure=failure):
            raise failure

        monkeypatch.setattr("nibabel.Nifti1Image.to_filename", fail)
        monkeypatch.setattr("gzip.GzipFile.write", fail)
        for ending in (".nii.gz", ".nrrd", ".seg.nrrd"):
            expected = (KeyboardInterrupt, InputError)
            with pytest.raises(expected):
                write_labels(labels(), tmp_path / f"result{ending}")
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_scans_in_a_folder_are_listed_by_name(tmp_path):
    for name in ("b.nii.gz", "a.nrrd", ".hidden.nii.gz"):
        write_volume(scan(), tmp_path / name)
    write_labels(labels(), tmp_path / "c.seg.nrrd")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty folder").mkdir()
    assert [p.name for p in list_scans(tmp_path)] == ["a.nrrd", "b.nii.gz"]
    assert not is_scan(tmp_path / "c.seg.nrrd")
    assert not is_scan(tmp_path / "missing.nii.gz")


def test_importing_the_readers_needs_neither_torch_nor_file_libraries():
    code = "import sys, dropiris.files; print([m for m in ('torch', 'nibabel', 'nrrd', 'pydicom') if m in sys.modules])"
    source = str(Path(dropiris.files.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
