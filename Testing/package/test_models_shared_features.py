"""Features that several models share: found by digest, refused when they are others, kept while a model uses them."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dropiris.errors import ModelError
from dropiris.inference import DropGenSegmenter
from dropiris.inference.loading import load_extractor
from dropiris.models.bundle import CARD, WEIGHTS, Bundle, write_bundle
from dropiris.models.card import ModelCard
from dropiris.models.catalogue import AVAILABLE, Catalogue
from dropiris.models.shared_features import find_features, share_extractor, shared_features
from dropiris.networks import AnatomixUNet, build_network
from dropiris.volume import Structure

ANATOMIX = {"name": "AnatomixUNet", "layer": "final", "out_channels": 3, "base_width": 4, "downsamplings": 2}
PREDICTOR = {"name": "UNet", "in_channels": 4, "out_channels": 2, "base_width": 4, "downsamplings": 2}
SIZE = (32, 32, 32)


def network(spec: dict, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_network(spec).eval()


def named(prefix: str, made: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": value for name, value in made.state_dict().items()}


def put_features(root: Path, version: str = "1.0.0", seed: int = 0) -> Bundle:
    card = ModelCard("features", version, "extractor", SIZE, {**ANATOMIX, "layer": "penultimate"}, title="Features")
    return write_bundle(root / "features", card, named("extractor", network(ANATOMIX, seed)))


def put_model(root: Path, name: str = "organ", version: str = "1.0.0", seed: int = 0) -> Bundle:
    card = ModelCard(
        name,
        version,
        "dropgen",
        SIZE,
        PREDICTOR,
        spacing=(1, 1, 1),
        structures=(Structure(1, "a"),),
        extractor=ANATOMIX,
        failures=[{"text": "Misses.", "picture": "missed.png"}],
    )
    tensors = {**named("predictor", network(PREDICTOR, 5)), **named("extractor", network(ANATOMIX, seed))}
    bundle = write_bundle(root / name, card, tensors, also={"LICENSE.txt": b"CC0", "missed.png": b"PNG"})
    return bundle


def put_shared(root: Path, features: Bundle, **more) -> Bundle:
    return share_extractor(put_model(root, **more), features)


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """Empty, and nobody's own models are looked into."""
    for variable, folder in (("DROPIRIS_MODELS", "shipped"), ("DROPIRIS_USER_MODELS", "installed")):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / folder))
    return Catalogue()


def problems(catalogue: Catalogue) -> dict[str, str]:
    return {entry.name: entry.problem for entry in catalogue.list()}


def test_a_shared_model_computes_what_it_did_and_holds_no_features(catalogue: Catalogue, tmp_path: Path) -> None:
    features, alone = put_features(catalogue.shipped), put_model(catalogue.shipped)
    image = torch.rand(1, 1, *SIZE)
    before, size = load_extractor(alone, alone.tensors())(image), alone.size
    shared = share_extractor(alone, features)
    tensors = shared.tensors()
    assert all(name.startswith("predictor.") for name in tensors) and (shared.folder / "LICENSE.txt").is_file()
    assert shared.picture(shared.card.failures[0]) == shared.folder / "missed.png"
    assert size - shared.size == pytest.approx(features.weights.stat().st_size, rel=0.2)
    assert torch.equal(load_extractor(shared, tensors)(image), before)
    assert shared_features(shared.card)["version"] == "1.0.0" and share_extractor(shared, features) == shared
    assert DropGenSegmenter(catalogue.find("organ"), "cpu").scorer.channels == 2
    assert catalogue.list()[1].features == features.folder and not any(problems(catalogue).values())


def test_weights_written_twice_have_one_digest(tmp_path: Path) -> None:
    one, two = put_features(tmp_path / "a"), put_features(tmp_path / "b", "1.0.1")
    assert one.card.sha256[WEIGHTS] == two.card.sha256[WEIGHTS]


def test_other_features_are_not_shared_and_the_model_stays_as_it_was(tmp_path: Path) -> None:
    alone, other = put_model(tmp_path), put_features(tmp_path, seed=1)
    before = alone.weights.read_bytes()
    with pytest.raises(ModelError, match="trained with other features"):
        share_extractor(alone, other)
    with pytest.raises(ModelError, match="is a dropgen model"):
        share_extractor(alone, alone)
    assert alone.weights.read_bytes() == before and Bundle.open(alone.folder).card == alone.card


def test_missing_features_are_one_sentence_that_names_them(catalogue: Catalogue, tmp_path: Path) -> None:
    shared = put_shared(catalogue.shipped, put_features(tmp_path))
    said = "'organ' needs the features features 1.0.0, and they are not here; import features 1.0.0 too"
    assert said in problems(catalogue)["organ"]
    for use in (lambda: catalogue.find("organ"), lambda: DropGenSegmenter(Bundle.open(shared.folder), "cpu")):
        with pytest.raises(ModelError, match=said):
            use()
    put_features(catalogue.shipped, "2.0.0", seed=1)
    with pytest.raises(ModelError, match=r"holds others; import features 1\.0\.0 too"):
        find_features(shared)


@pytest.mark.parametrize("place", ["beside", "installed", "shipped"])
def test_features_are_found_beside_the_model_installed_and_shipped(
    catalogue: Catalogue, tmp_path: Path, place: str
) -> None:
    features = put_features(tmp_path / place)
    put_features(tmp_path / ("shipped" if place == "installed" else "installed"), "3.0.0", seed=1)
    shared = put_shared(tmp_path / "beside", features)
    assert find_features(shared).folder == features.folder


def test_damaged_features_are_refused(catalogue: Catalogue) -> None:
    features = put_features(catalogue.shipped)
    shared = put_shared(catalogue.shipped, features)
    data = bytearray(features.weights.read_bytes())
    data[-1] ^= 1
    features.weights.write_bytes(bytes(data))
    with pytest.raises(ModelError, match="SHA-256"):
        load_extractor(shared, shared.tensors())
    with pytest.raises(ModelError, match="SHA-256"):
        catalogue.verify("organ")


def test_features_may_come_after_the_model_and_stay_while_it_uses_them(catalogue: Catalogue, tmp_path: Path) -> None:
    features = put_features(tmp_path)
    catalogue.import_bundle(put_shared(tmp_path, features).folder)
    assert "import features 1.0.0 too" in problems(catalogue)["organ"]
    catalogue.import_bundle(features.folder)
    catalogue.import_bundle(features.folder)  # the same once more
    assert not any(problems(catalogue).values()) and catalogue.users(catalogue.installed / "features") == ["organ"]
    newer = put_features(tmp_path / "newer", "2.0.0", seed=1)
    with pytest.raises(ModelError, match=r"'organ' uses the features features 1\.0\.0, which 2\.0\.0 would replace"):
        catalogue.import_bundle(newer.folder)
    with pytest.raises(ModelError, match="'organ' uses the features 'features'; remove that model first"):
        catalogue.remove("features")
    catalogue.import_bundle(put_shared(tmp_path / "newer", newer, version="2.0.0", seed=1).folder)
    catalogue.import_bundle(newer.folder)
    assert catalogue.find("organ").card.version == "2.0.0"
    catalogue.remove("organ")
    catalogue.remove("features")
    assert catalogue.list() == []


def test_a_download_fetches_the_features_it_shares(catalogue: Catalogue, tmp_path: Path) -> None:
    features = put_features(tmp_path)
    rows = []
    for bundle in (features, put_shared(tmp_path, features)):
        archive = Path(shutil.make_archive(str(tmp_path / bundle.card.name), "zip", bundle.folder))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        card = json.loads((bundle.folder / CARD).read_text(encoding="utf-8"))
        rows.append({"url": archive.as_uri(), "sha256": digest, "size": 1, "card": card})
    (catalogue.shipped / AVAILABLE).write_text(json.dumps(rows))
    catalogue.download(next(entry for entry in catalogue.list() if entry.name == "organ"))
    assert {entry.name: entry.state for entry in catalogue.list()} == {"features": "installed", "organ": "installed"}
    assert find_features(catalogue.find("organ"), [catalogue.installed]).card.name == "features"


def test_features_are_no_model_to_segment_with(catalogue: Catalogue) -> None:
    features = put_features(catalogue.shipped)
    assert features.card.kind == "features" and features.card.to_json()["task"] == "Features: stable features"
    with pytest.raises(ModelError, match="no dropgen model"):
        catalogue.default("dropgen")


@pytest.mark.parametrize("bundle", ["features", {"name": "../evil", "version": "1", "sha256": "0" * 64}, {}])
def test_a_card_cannot_share_what_is_no_features(tmp_path: Path, bundle: object) -> None:
    card = put_model(tmp_path).card
    with pytest.raises(ModelError, match="shares the features"):
        replace(card, extractor={**ANATOMIX, "bundle": bundle})


def test_a_model_does_not_both_hold_and_share_features(tmp_path: Path) -> None:
    alone, features = put_model(tmp_path), put_features(tmp_path)
    card = put_shared(tmp_path, features, name="other").card
    with pytest.raises(ModelError, match="its card says it shares"):
        write_bundle(tmp_path / "both", card, alone.tensors())
    assert isinstance(load_extractor(alone, alone.tensors()), AnatomixUNet)
