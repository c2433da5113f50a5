"""Bundles: written in one step, checked when opened, exact to half precision."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch

from dropiris.errors import ModelError
from dropiris.models.bundle import CARD, THUMBNAIL, WEIGHTS, Bundle, change_card, read_card, write_bundle
from dropiris.models.card import ModelCard
from dropiris.volume import Structure

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 16


def small_card(**changes: object) -> ModelCard:
    fields: dict[str, object] = {
        "name": "small",
        "version": "1.0.0",
        "method": "dropgen",
        "window": (64, 64, 64),
        "spacing": (1.0, 1.0, 1.0),
        "network": {"name": "UNet"},
        "structures": (Structure(1, "liver"),),
    }
    return ModelCard(**{**fields, **changes})  # type: ignore[arg-type]


def small_tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "predictor.model.0.weight": torch.randn(4, 1, 3, 3, 3),
        "predictor.model.1.running_var": torch.full((4,), 1e-9),
        "predictor.model.1.num_batches_tracked": torch.tensor(7),
    }


def test_weights_come_back_in_single_precision_and_small_variances_survive(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "small", small_card(), small_tensors(), PNG)
    loaded = bundle.tensors()
    torch.testing.assert_close(
        loaded["predictor.model.0.weight"], small_tensors()["predictor.model.0.weight"], rtol=1e-3, atol=1e-4
    )
    assert loaded["predictor.model.0.weight"].dtype == torch.float32
    assert float(loaded["predictor.model.1.running_var"][0]) == pytest.approx(1e-9)
    assert int(loaded["predictor.model.1.num_batches_tracked"]) == 7
    assert bundle.thumbnail == tmp_path / "small" / THUMBNAIL
    assert bundle.parameters == 4 * 27 + 4 + 1


def test_full_precision_is_exact_and_too_large_values_are_never_halved(tmp_path: Path) -> None:
    tensors = {"predictor.w": torch.full((2, 2), 1e6), "predictor.v": torch.rand(2, 2)}
    half = write_bundle(tmp_path / "half", small_card(), tensors).tensors()
    assert torch.equal(half["predictor.w"], tensors["predictor.w"])
    full = write_bundle(tmp_path / "full", small_card(), tensors, half=False).tensors()
    assert torch.equal(full["predictor.v"], tensors["predictor.v"])


def test_writing_again_replaces_the_bundle_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_bundle(tmp_path / "small", small_card(), small_tensors(), PNG)
    again = write_bundle(tmp_path / "small", small_card(version="1.0.1"), small_tensors())
    assert again.card.version == "1.0.1" and again.thumbnail is None
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_failed_writing_keeps_the_old_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path / "small", small_card(), small_tensors())
    for tensors in ({"predictor.w": torch.tensor([[float("nan")]])}, {"iris.w": torch.zeros(2, 2)}):
        with pytest.raises(ModelError):
            write_bundle(tmp_path / "small", small_card(version="2.0.0"), tensors)
    assert Bundle.open(tmp_path / "small").card.version == "1.0.0"
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_folder_with_other_things_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="no model"):
        write_bundle(tmp_path, small_card(), small_tensors())
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_thumbnail_must_be_a_png(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="PNG"):
        write_bundle(tmp_path / "small", small_card(), small_tensors(), b"GIF89a")


def test_pictures_of_failures_are_written_and_a_model_works_without_them(tmp_path: Path) -> None:
    card = small_card(failures=[{"text": "Misses.", "picture": "a.png"}, {"text": "Finds too much."}])
    bundle = write_bundle(tmp_path / "small", card, small_tensors(), PNG, also={"a.png": PNG, "LICENSE.txt": b"CC0"})
    assert [bundle.picture(failure) for failure in card.failures] == [bundle.folder / "a.png", None]
    assert bundle.card.sha256.keys() == {WEIGHTS, THUMBNAIL, "a.png", "LICENSE.txt"}
    again = write_bundle(bundle.folder, bundle.card, bundle.tensors(), also=bundle.others())
    assert again.card == bundle.card and again.others() == {"LICENSE.txt": b"CC0", THUMBNAIL: PNG, "a.png": PNG}
    for name in ("a.png", THUMBNAIL):
        (bundle.folder / name).unlink()
    without = Bundle.open(bundle.folder)
    assert without.picture(card.failures[0]) is None and without.thumbnail is None
    (bundle.folder / "a.png").write_bytes(PNG + b"other")
    with pytest.raises(ModelError, match=r"a\.png does not match"):
        Bundle.open(bundle.folder)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"12345")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def _huge_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _not_a_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 4) + b"nope")


def _wrong_shape(path: Path) -> None:
    header = json.dumps({"predictor.w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)


@pytest.mark.parametrize(
    "damage", [Path.unlink, _empty, _cut, _lengthen, _flip, _huge_header, _not_a_header, _wrong_shape]
)
def test_damaged_weights_are_refused_in_one_sentence_naming_the_file(tmp_path: Path, damage: object) -> None:
    write_bundle(tmp_path / "small", small_card(), small_tensors())
    damage(tmp_path / "small" / WEIGHTS)  # type: ignore[operator]
    with pytest.raises(ModelError, match=WEIGHTS) as raised:
        Bundle.open(tmp_path / "small")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "x"}', "\x00"])
def test_a_damaged_card_is_refused_naming_the_file(tmp_path: Path, content: str) -> None:
    write_bundle(tmp_path / "small", small_card(), small_tensors())
    (tmp_path / "small" / CARD).write_text(content)
    with pytest.raises(ModelError, match=r"model\.json"):
        Bundle.open(tmp_path / "small")


def test_a_folder_that_is_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no model\.json"):
        Bundle.open(tmp_path)
    with pytest.raises(ModelError, match="no model folder"):
        Bundle.open(tmp_path / "absent")


def test_names_with_spaces_and_other_alphabets_work(tmp_path: Path) -> None:
    folder = tmp_path / "Модели и ещё" / "模型 1"
    assert write_bundle(folder, small_card(), small_tensors()).tensors().keys() == small_tensors().keys()


def test_a_card_is_changed_without_touching_the_weights(tmp_path: Path) -> None:
    bundle = Bundle.open(write_bundle(tmp_path / "small", small_card(), small_tensors()).folder)
    before = bundle.weights.read_bytes()
    card = change_card(bundle.folder, failures=[{"text": "Misses."}])
    assert Bundle.open(bundle.folder).card == card and card.failures == [{"text": "Misses."}]
    assert bundle.weights.read_bytes() == before and not list(bundle.folder.glob(".*"))
    with pytest.raises(ModelError, match="failure"):
        change_card(bundle.folder, failures=["no object"])
    assert read_card(bundle.folder) == card
