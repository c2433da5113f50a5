"""The catalogue: shipped, installed and available models; nothing unsafe comes out of a .zip."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dropiris.errors import Cancelled, ModelError
from dropiris.models.bundle import CARD, WEIGHTS, write_bundle
from dropiris.models.card import ModelCard
from dropiris.models.catalogue import AVAILABLE, Catalogue
from dropiris.models.folders import shipped_folder
from dropiris.progress import CancelToken, Progress
from dropiris.volume import Structure

PICTURE = b"\x89PNG\r\n\x1a\n of a failure"


def put_model(root: Path, name: str, version: str = "1.0.0", method: str = "dropgen", picture: bool = False) -> Path:
    prefix = "predictor" if method == "dropgen" else "iris"
    card = ModelCard(
        name, version, method, (64, 64, 64), {"name": "UNet"}, spacing=(1, 1, 1), structures=(Structure(1, "a"),)
    )
    if picture:
        card = replace(card, failures=[{"text": "Misses.", "picture": "missed.png"}])
    also = {"missed.png": PICTURE} if picture else {}
    write_bundle(root / name, card, {f"{prefix}.w": torch.ones(64, 64)}, also=also)
    return root / name


def zip_of(folder: Path, target: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, inside + path.name)
    return target


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    put_model(tmp_path / "shipped", "brain")
    put_model(tmp_path / "shipped", "any-structure", method="iris")
    put_model(tmp_path / "installed", "abdomen")
    return Catalogue(tmp_path / "shipped", tmp_path / "installed")


def states(catalogue: Catalogue) -> dict[str, str]:
    return {entry.name: entry.state for entry in catalogue.list()}


def test_models_are_listed_with_their_state(catalogue: Catalogue) -> None:
    assert states(catalogue) == {"any-structure": "shipped", "brain": "shipped", "abdomen": "installed"}


def test_a_damaged_model_is_listed_with_what_is_wrong(catalogue: Catalogue) -> None:
    (catalogue.installed / "abdomen" / WEIGHTS).write_bytes(b"")
    (catalogue.shipped / "brain" / CARD).write_text("{")
    problems = {entry.name: entry.problem for entry in catalogue.list()}
    assert WEIGHTS in problems["abdomen"] and CARD in problems["brain"] and problems["any-structure"] == ""


def test_folders_that_do_not_exist_hold_no_models(tmp_path: Path) -> None:
    assert Catalogue(tmp_path / "a", tmp_path / "b").list() == []
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_found_by_name_and_by_path(catalogue: Catalogue) -> None:
    assert catalogue.find("brain").folder == catalogue.shipped / "brain"
    assert catalogue.find(catalogue.installed / "abdomen").card.name == "abdomen"


def test_an_unknown_name_is_answered_with_the_nearest(catalogue: Catalogue) -> None:
    with pytest.raises(ModelError, match="did you mean 'abdomen'"):
        catalogue.find("abdomin")
    with pytest.raises(ModelError, match="choose among"):
        catalogue.find("zzzz")


def test_an_installed_model_hides_a_shipped_namesake(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.import_bundle(put_model(tmp_path / "newer", "brain", "2.0.0"))
    assert catalogue.find("brain").card.version == "2.0.0"
    catalogue.remove("brain")
    assert catalogue.find("brain").card.version == "1.0.0"


def test_the_default_model_of_a_method_is_a_usable_one(catalogue: Catalogue) -> None:
    assert catalogue.default("iris").card.name == "any-structure"
    (catalogue.shipped / "any-structure" / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="no iris model"):
        catalogue.default("iris")


@pytest.mark.parametrize("inside", ["", "lung/"])
def test_a_zip_is_imported_whether_or_not_it_holds_a_folder(catalogue: Catalogue, tmp_path: Path, inside: str) -> None:
    archive = zip_of(put_model(tmp_path / "new", "lung"), tmp_path / "model.zip", inside)
    assert catalogue.import_bundle(archive).folder == catalogue.installed / "lung"
    assert states(catalogue)["lung"] == "installed"


@pytest.mark.parametrize("zipped", [False, True])
def test_pictures_of_failures_are_imported_and_missing_ones_hinder_nothing(
    catalogue: Catalogue, tmp_path: Path, zipped: bool
) -> None:
    folder = put_model(tmp_path / "new", "lung", picture=True)
    bundle = catalogue.import_bundle(zip_of(folder, tmp_path / "model.zip") if zipped else folder)
    picture = bundle.picture(bundle.card.failures[0])
    assert picture == catalogue.installed / "lung" / "missed.png" and picture.read_bytes() == PICTURE
    picture.unlink()
    assert catalogue.find("lung").picture(bundle.card.failures[0]) is None
    assert not any(entry.problem for entry in catalogue.list())
    with pytest.raises(ModelError, match=r"missed\.png"):  # usable, but not whole
        catalogue.verify("lung")
    (folder / "missed.png").unlink()
    assert catalogue.import_bundle(zip_of(folder, tmp_path / "model.zip") if zipped else folder).others() == {}


def test_code_and_other_files_in_a_folder_are_left_behind(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = put_model(tmp_path / "new", "lung")
    (folder / "setup.py").write_text("print('hello')")
    (folder / "LICENSE.txt").write_text("CC0")
    imported = catalogue.import_bundle(folder).folder
    assert sorted(path.name for path in imported.iterdir()) == ["LICENSE.txt", CARD, WEIGHTS]


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil.json", "a/../../evil.json", "C:/evil.json", "..\\evil.json"]
)
def test_a_zip_with_a_path_that_leads_outside_is_refused(catalogue: Catalogue, tmp_path: Path, name: str) -> None:
    archive = zip_of(put_model(tmp_path / "new", "lung"), tmp_path / "model.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(name, "{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ModelError, match="outside"):
        catalogue.import_bundle(archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_in_a_zip_never_becomes_a_link(catalogue: Catalogue, tmp_path: Path) -> None:
    archive = zip_of(put_model(tmp_path / "new", "lung"), tmp_path / "model.zip")
    link = zipfile.ZipInfo("notes.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    notes = catalogue.import_bundle(archive).folder / "notes.txt"
    assert not notes.is_symlink() and notes.read_text() == "/etc/passwd"


def test_what_cannot_be_imported_names_the_given_file_and_leaves_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    folder = put_model(tmp_path / "new", "lung")
    (folder / WEIGHTS).write_bytes(b"damaged")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    before = sorted(path.name for path in catalogue.installed.iterdir())
    for path in (tmp_path / "text.zip", tmp_path / "empty.zip", folder, tmp_path / "absent.zip"):
        with pytest.raises(ModelError, match=path.name):
            catalogue.import_bundle(path)
    assert sorted(path.name for path in catalogue.installed.iterdir()) == before


def test_only_installed_models_can_be_removed(catalogue: Catalogue) -> None:
    catalogue.remove("abdomen")
    assert list(catalogue.installed.iterdir()) == []
    with pytest.raises(ModelError, match="shipped"):
        catalogue.remove("brain")
    with pytest.raises(ModelError, match="no model"):
        catalogue.remove("abdomen")


def test_verify_reads_the_bytes_again_after_the_first_time(catalogue: Catalogue) -> None:
    catalogue.verify("brain")
    path = catalogue.shipped / "brain" / WEIGHTS
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # a disk fault changes no date
    with pytest.raises(ModelError, match="SHA-256"):
        catalogue.verify("brain")


def test_the_shipped_folder_can_be_chosen_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPIRIS_MODELS", str(tmp_path))
    assert shipped_folder() == tmp_path
    monkeypatch.delenv("DROPIRIS_MODELS")
    assert shipped_folder().parts[-2:] == ("Resources", "Models")


@pytest.fixture
def with_download(catalogue: Catalogue, tmp_path: Path) -> Catalogue:
    folder = put_model(tmp_path / "web", "lung")
    archive = zip_of(folder, tmp_path / "web" / "lung.zip")
    row = {
        "url": archive.as_uri(),
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "size": archive.stat().st_size,
        "card": json.loads((folder / CARD).read_text(encoding="utf-8")),
    }
    (catalogue.shipped / AVAILABLE).write_text(json.dumps([row]))
    return catalogue


def test_an_available_model_is_downloaded_checked_and_installed(with_download: Catalogue) -> None:
    entry = next(entry for entry in with_download.list() if entry.state == "available")
    with pytest.raises(ModelError, match="models download lung"):
        with_download.find("lung")
    seen: list[Progress] = []
    with_download.download(entry, seen.append)
    assert states(with_download)["lung"] == "installed" and seen[-1].fraction == 1.0
    assert not list((with_download.installed / ".downloads").iterdir())


def test_a_cancelled_download_goes_on_where_it_stopped(with_download: Catalogue) -> None:
    entry = next(entry for entry in with_download.list() if entry.state == "available")
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        with_download.download(entry, cancel=cancel)
    partial = with_download.installed / ".downloads" / f"{entry.sha256}.partial"
    partial.write_bytes(Path(entry.url.removeprefix("file://")).read_bytes()[:100])
    with_download.download(entry)
    assert with_download.verify("lung").card.version == "1.0.0"


def test_a_download_with_other_content_is_deleted_and_not_installed(with_download: Catalogue) -> None:
    entry = next(entry for entry in with_download.list() if entry.state == "available")
    Path(entry.url.removeprefix("file://")).write_bytes(b"something else")
    with pytest.raises(ModelError, match="SHA-256"):
        with_download.download(entry)
    assert states(with_download)["lung"] == "available"
    assert not list((with_download.installed / ".downloads").iterdir())


def test_only_https_is_fetched_and_never_without_a_digest(tmp_path: Path) -> None:
    from dropiris.models.download import fetch
    from dropiris.progress import ignore_progress

    with pytest.raises(ModelError, match="https"):
        fetch("http://example.org/model.zip", "0" * 64, tmp_path, ignore_progress, None)
    with pytest.raises(ModelError, match="SHA-256"):
        fetch("https://example.org/model.zip", "", tmp_path, ignore_progress, None)
