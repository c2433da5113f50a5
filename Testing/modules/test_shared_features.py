"""Features that models share are no model to segment with, and count in the size of each that uses them."""

import pytest
import torch

from dropiris.models.bundle import write_bundle
from dropiris.models.card import ModelCard
from dropiris.models.catalogue import Catalogue
from dropiris.models.shared_features import share_extractor
from dropiris.panels.run_estimate import weights_bytes
from dropiris.volume import Structure

SPEC = {"name": "AnatomixUNet", "layer": "final"}


@pytest.fixture
def catalogue(tmp_path):
    """A model that shares its features with whoever wants them."""
    shipped, weights = tmp_path / "shipped", {"extractor.model.0.weight": torch.rand(100, 100)}
    features = write_bundle(shipped / "calm", ModelCard("calm", "1.0.0", "extractor", (32, 32, 32), SPEC), weights)
    card = ModelCard(
        "organ",
        "1.0.0",
        "dropgen",
        (32, 32, 32),
        {"name": "UNet"},
        spacing=(1, 1, 1),
        structures=(Structure(1, "a"),),
        extractor=SPEC,
    )
    model = write_bundle(shipped / "organ", card, {"predictor.w": torch.rand(100, 100), **weights})
    share_extractor(model, features)
    return Catalogue(shipped, tmp_path / "installed")


def test_the_list_shows_models_alone_and_their_whole_size(booted_slicer, catalogue):
    from dropiris.panels import model_facts

    (organ,) = model_facts.listed(catalogue.list(), "dropgen")
    assert organ.name == "organ" and model_facts.listed(catalogue.list(), "iris") == []
    assert model_facts.usable(organ)
    both = weights_bytes(organ.folder) + weights_bytes(organ.features)
    assert weights_bytes(organ.folder, organ.features) == both > 2 * 100 * 100 * 2
    assert both < model_facts.size(organ) < both + 10_000  # and two cards


def test_a_model_whose_features_are_not_here_says_which_on_its_button(booted_slicer, catalogue):
    from dropiris.panels import model_facts

    (catalogue.shipped / "calm").rename(catalogue.shipped / ".calm")
    (organ,) = model_facts.listed(catalogue.list(), "dropgen")
    assert not model_facts.usable(organ) and "import calm 1.0.0 too" in model_facts.why_not(organ)
    assert organ.features is None and weights_bytes(organ.folder, None) > 0
