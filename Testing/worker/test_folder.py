"""The private folder and what crashed programs leave behind."""

from __future__ import annotations

import os
import stat
import sys
import time

import pytest

from dropiris.errors import WorkerError
from dropiris.worker.folder import PrivateFolder, remove_stale


def test_the_folder_is_short_ascii_and_private(tmp_path):
    folder = PrivateFolder(tmp_path)
    assert len(folder.path.name) < 32 and folder.path.name.isascii()
    if sys.platform != "win32":
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.remove()
    assert not folder.path.exists()


def test_a_folder_in_use_is_left_alone_and_one_of_a_crashed_program_is_removed(tmp_path):
    living, crashed = PrivateFolder(tmp_path), PrivateFolder(tmp_path)
    (crashed.path / "1-0.npy").write_bytes(b"x")
    os.close(crashed._lock)
    assert remove_stale(tmp_path) == [crashed.path]
    assert living.path.exists() and not crashed.path.exists()
    living.remove()


def test_a_folder_that_is_just_being_made_is_left_alone(tmp_path):
    new, old = tmp_path / "dropiris-1-new", tmp_path / "dropiris-1-old"
    new.mkdir()
    old.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    assert remove_stale(tmp_path) == [old]
    assert new.exists()


@pytest.mark.parametrize("name", ["dropiris-models", "dropiris", "other-1-x", "dropiris-1"])
def test_folders_of_other_names_are_never_touched(tmp_path, name):
    other = tmp_path / name
    other.mkdir()
    os.utime(other, (0, 0))
    assert remove_stale(tmp_path) == [] and other.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_is_never_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    os.utime(precious, (0, 0))
    (tmp_path / "dropiris-1-x").symlink_to(precious)
    assert remove_stale(tmp_path) == [] and precious.exists()


def test_a_temporary_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(WorkerError, match="nowhere cannot be used"):
        PrivateFolder(tmp_path / "nowhere")
