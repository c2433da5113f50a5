"""Prepared volumes come back as they were made, are made anew when damaged, and failures name the case."""

import os
import shutil
import sys

import numpy as np
import pytest

from dropiris.data.nnunet import Dataset
from dropiris.data.training_scan import load_scan, prepare_scan
from dropiris.data.volume_cache import Prepared, VolumeCache
from dropiris.errors import InputError
from dropiris.intensity import IntensityRule

RECIPE = {"spacing": [1.0, 1.0, 1.0]}


@pytest.fixture
def case(blob_dataset, tmp_path):
    """A case of its own, so that its files may be changed."""
    folder = tmp_path / "Dataset904_Own"
    shutil.copytree(blob_dataset, folder)
    return Dataset.open(folder).cases()[0]


class Preparation:
    """Counts how often a case was really prepared."""

    def __init__(self, case):
        self.case, self.count = case, 0

    def __call__(self):
        self.count += 1
        volume, labels = self.case.read()
        centres = np.argwhere(labels.array)[:0]  # may be empty
        arrays = {"image": volume.array, "labels": labels.array.transpose(2, 0, 1), "centres": centres}
        return Prepared(arrays, {"voxel": [1.0, 2.0], "names": ["ball"]})


def entry_of(cache):
    return next(path for path in cache.folder.iterdir() if path.is_dir())


def test_a_case_is_prepared_once_and_comes_back_as_it_was(case, tmp_path):
    prepare = Preparation(case)
    made = prepare()
    for _ in range(2):  # written, then read by another run
        found = VolumeCache(tmp_path / "cache").get(case, RECIPE, prepare)
        assert found.facts == made.facts
        for name, array in made.arrays.items():
            assert found.arrays[name].dtype == array.dtype
            assert np.array_equal(found.arrays[name], array)
    assert prepare.count == 2
    assert isinstance(found.arrays["image"], np.memmap)


def test_the_file_on_disk_is_not_changed_through_what_is_returned(case, tmp_path):
    cache, prepare = VolumeCache(tmp_path / "cache"), Preparation(case)
    before = cache.get(case, RECIPE, prepare).arrays["image"].copy()
    cache.get(case, RECIPE, prepare).arrays["image"][:] = 7
    assert np.array_equal(cache.get(case, RECIPE, prepare).arrays["image"], before)


def test_another_recipe_or_another_content_is_another_entry(case, tmp_path):
    cache, prepare = VolumeCache(tmp_path / "cache"), Preparation(case)
    cache.get(case, RECIPE, prepare)
    cache.get(case, {"spacing": [2.0, 2.0, 2.0]}, prepare)
    assert prepare.count == 2
    other = next(path for path in case.labels.parent.iterdir() if path != case.labels)
    case.labels.write_bytes(other.read_bytes())
    os.utime(case.labels, (0, 0))  # what counts is the content, not the date
    cache.get(case, RECIPE, prepare)
    assert prepare.count == 3


@pytest.mark.parametrize("damage", ["a flipped bit", "cut short", "an array gone", "facts gone", "no JSON"])
def test_a_damaged_entry_is_made_anew(case, tmp_path, damage):
    cache, prepare = VolumeCache(tmp_path / "cache"), Preparation(case)
    good = {name: array.copy() for name, array in cache.get(case, RECIPE, prepare).arrays.items()}
    image = entry_of(cache) / "image.npy"
    content = bytearray(image.read_bytes())
    if damage == "a flipped bit":
        content[-100] ^= 4
        image.write_bytes(content)
    elif damage == "cut short":
        image.write_bytes(content[: len(content) // 2])
    elif damage == "an array gone":
        image.unlink()
    elif damage == "facts gone":
        (entry_of(cache) / "entry.json").unlink()
    else:
        (entry_of(cache) / "entry.json").write_text("{")
    again = cache.get(case, RECIPE, prepare)
    assert prepare.count == 2
    assert all(np.array_equal(again.arrays[name], array) for name, array in good.items())


def test_no_cache_writes_nothing(case, tmp_path, monkeypatch):
    monkeypatch.setenv("DROPIRIS_CACHE", str(tmp_path / "unwanted"))
    found = VolumeCache(False).get(case, RECIPE, Preparation(case))
    assert found.arrays["image"].ndim == 3
    assert not (tmp_path / "unwanted").exists()


def test_a_file_that_is_no_scan_is_named(case, tmp_path):
    case.image.write_bytes(case.image.read_bytes()[:500])
    with pytest.raises(InputError, match=case.name) as told:
        VolumeCache(tmp_path / "cache").get(case, RECIPE, Preparation(case))
    assert str(told.value).count("\n") == 0
    assert not list((tmp_path / "cache").glob("*")), "nothing half-written"


def test_image_and_label_map_of_different_sizes_are_refused(case, tmp_path):
    from dropiris.files import read_labels, write_labels
    from dropiris.volume import LabelMap

    labels = read_labels(case.labels)[0]
    write_labels(LabelMap(labels.array[1:], labels.affine), case.labels)
    with pytest.raises(InputError, match=rf"{case.name}: image and label map differ in size"):
        case.read()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full, the disk that is always full")
def test_a_full_disk_is_said_with_the_case(case, tmp_path, monkeypatch):
    """numpy writes to /dev/full: the real error of a full disk."""
    real = np.save

    def save_on_full_disk(path, array, **more):
        with open("/dev/full", "wb") as full:
            real(full, array, **more)

    monkeypatch.setattr(np, "save", save_on_full_disk)
    with pytest.raises(InputError, match=rf"{case.name}: the disk of .* is full; free space there"):
        VolumeCache(tmp_path / "cache").get(case, RECIPE, Preparation(case))
    assert not list((tmp_path / "cache").glob("*")), "nothing half-written"


@pytest.mark.skipif(sys.platform == "win32", reason="a file where a folder is wanted fails otherwise on Windows")
def test_a_cache_that_cannot_be_written_is_named(case, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"{case.name}: .*give cache=FOLDER"):
        VolumeCache(tmp_path / "file" / "cache").get(case, RECIPE, Preparation(case))


def test_a_process_that_was_quicker_is_believed(case, tmp_path):
    """Another process puts the entry in place between our look and our write."""
    cache, prepare = VolumeCache(tmp_path / "cache"), Preparation(case)

    def prepare_while_another_does():
        VolumeCache(cache.folder).get(case, RECIPE, prepare)
        return prepare()

    assert np.array_equal(
        cache.get(case, RECIPE, prepare_while_another_does).arrays["image"], prepare().arrays["image"]
    )
    assert len(list(cache.folder.iterdir())) == 1


def test_a_training_scan_comes_back_from_the_cache_as_it_was_prepared(case, blob_dataset, tmp_path):
    dataset, rule, cache = Dataset.open(blob_dataset), IntensityRule(scale="zscore"), VolumeCache(tmp_path / "cache")
    made = prepare_scan(case, dataset, rule)
    for _ in range(2):
        found = load_scan(case, dataset, rule, cache=cache)
        assert found.contents.keys() == made.contents.keys() == {"ball", "box"}
        for name, content in made.contents.items():
            assert (found.contents[name].values, found.contents[name].spacing) == (content.values, content.spacing)
            assert np.array_equal(found.contents[name].high, content.high)
        for ours, theirs in zip(found.levels, made.levels, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert np.array_equal(found.labels, made.labels) and np.array_equal(found.voxel, made.voxel)
    assert len(list(cache.folder.iterdir())) == 1
