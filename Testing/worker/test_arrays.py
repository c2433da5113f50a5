"""Arrays through files."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest

from dropiris.errors import Cancelled, WorkerError
from dropiris.volume import LabelMap, Reference, Structure, Volume
from dropiris.worker import arrays


def views(dtype):
    base = np.arange(6 * 7 * 8).reshape(6, 7, 8).astype(dtype)
    return {
        "as stored": base,
        "transposed, as from MRML": base.T,
        "cropped": base[1:-1, 2:, :3],
        "flipped": base[::-1, :, ::-1],
        "transposed and cropped": base.T[2:, 1:, ::2],
        "axes moved": np.moveaxis(base, 0, 1),
        "one voxel": base[:1, :1, :1],
    }


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("dtype", ["i2", ">i2", "u1", "?", "f2", "f8"])
@pytest.mark.parametrize("view", views("i2"))
def test_every_view_and_type_comes_back_equal(tmp_path, view, dtype, mapped):
    array = views(dtype)[view]
    sent = Volume(array, np.diag([1, 2, 3, 1]), "Scan", "MR")
    got = arrays.receive(arrays.send(sent, tmp_path, "1-0"), tmp_path, mapped)
    np.testing.assert_array_equal(got.array, array)
    assert got.array.dtype == array.dtype and type(got.array) is np.ndarray
    np.testing.assert_array_equal(got.affine, sent.affine)
    assert (got.name, got.modality) == ("Scan", "MR")


def test_the_file_is_one_that_numpy_reads(tmp_path):
    array = np.arange(24.0).reshape(2, 3, 4).T
    arrays.send(Volume(array, np.eye(4)), tmp_path, "1-0")
    np.testing.assert_array_equal(np.load(tmp_path / "1-0.npy"), array)


def test_a_transposed_scan_is_written_without_a_copy(tmp_path):
    array = np.zeros((64, 256, 256), np.int16).T
    tracemalloc.start()
    try:
        arrays.send(Volume(array, np.eye(4)), tmp_path, "1-0")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < array.nbytes / 20


def test_a_reference_with_overlapping_layers_comes_back(tmp_path):
    affine = np.diag([0.5, 0.5, 2, 1.0])
    volume = Volume(np.ones((4, 5, 6), np.float32), affine, "CT")
    one = LabelMap(np.full((4, 5, 6), 3, np.uint16), affine, (Structure(3, "hip é", (0.1, 0.2, 0.3), "x~y"),))
    two = LabelMap(np.eye(4, 5, dtype=np.uint8)[..., None].repeat(6, 2), affine, (Structure(1, "sacrum"),))
    got = arrays.receive(arrays.send(Reference(volume, (one, two)), tmp_path, "1-0"), tmp_path, mapped=True)
    assert got.structures == (*one.structures, *two.structures)
    assert got.mask("sacrum").sum() == 24 and got.mask("hip é").all()


def test_writing_stops_between_pieces_when_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "PIECE", 100)
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 3:
            raise Cancelled()

    with pytest.raises(Cancelled):
        arrays.send(Volume(np.zeros((9, 9, 9)), np.eye(4)), tmp_path, "1-0", check)
    assert not (tmp_path / "1-0.npy").exists()


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    description = arrays.send(Volume(np.zeros((2, 3, 4)), np.eye(4)), tmp_path, "1-0")
    (tmp_path / "1-0.npy").unlink()
    with pytest.raises(WorkerError, match=r"1-0\.npy is missing"):
        arrays.receive(description, tmp_path, mapped=True)


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("damage", ["truncated", "oversized", "no array", "other shape", "other type", "pickle"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage, mapped):
    description = arrays.send(Volume(np.zeros((20, 30, 40)), np.eye(4)), tmp_path, "1-0")
    path = tmp_path / "1-0.npy"
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[:-1000])
    elif damage == "oversized":
        path.write_bytes(whole + bytes(10_000))
    elif damage == "no array":
        path.write_bytes(bytes(len(whole)))
    elif damage == "other shape":
        np.save(path, np.zeros((40, 30, 20)))
    elif damage == "other type":
        np.save(path, np.zeros((20, 30, 40), np.int64))
    else:
        description["dtype"] = "|O"
        np.save(path, np.full((20, 30, 40), None), allow_pickle=True)
        path.write_bytes(path.read_bytes().ljust(len(whole), b"\0"))
    with pytest.raises(WorkerError, match=r"1-0\.npy is damaged"):
        arrays.receive(description, tmp_path, mapped)


@pytest.mark.parametrize("name", ["../1-0.npy", "/etc/passwd", "a/b.npy", "1-0.pkl", ""])
def test_names_outside_the_folder_are_refused(tmp_path, name):
    description = arrays.send(Volume(np.zeros((2, 3, 4)), np.eye(4)), tmp_path, "1-0")
    with pytest.raises(WorkerError):
        arrays.receive({**description, "file": name}, tmp_path, mapped=True)


@pytest.mark.parametrize("broken", [None, 3, {}, {"kind": "volume"}, {"kind": "reference", "volume": {}, "layers": 1}])
def test_a_broken_description_is_an_error(tmp_path, broken):
    with pytest.raises(WorkerError):
        arrays.receive(broken, tmp_path, mapped=True)


def test_an_unwritable_folder_is_named(tmp_path):
    gone = tmp_path / "gone"
    with pytest.raises(WorkerError, match="gone cannot be written"):
        arrays.send(Volume(np.zeros((2, 3, 4)), np.eye(4)), gone, "1-0")


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits exist on POSIX only")
def test_a_full_disk_is_a_sentence_and_leaves_no_half_file(tmp_path, no_file_beyond):
    volume = Volume(np.zeros((128, 128, 128), np.int16), np.eye(4))
    with no_file_beyond(2**20), pytest.raises(WorkerError, match=r"is full \(4 MiB needed\)"):
        arrays.send(volume, tmp_path, "1-0")
    assert list(tmp_path.iterdir()) == []
