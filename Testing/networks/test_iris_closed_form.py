"""The head in closed form: it is the ridge regression it says it is, and finds what no training has seen."""

import numpy as np
import pytest
import torch

from dropiris.networks import Iris
from dropiris.networks.iris import KNOWN, UNKNOWN
from dropiris.networks.iris_closed_form import BALANCE, REACH, RIDGE, ClosedFormHead, thinned
from dropiris.networks.iris_refinement import Refinement, best_of_others


def image(seed: int, channels: int = 3, side: int = 24) -> torch.Tensor:
    return torch.randn(1, channels, side, side, side, generator=torch.Generator().manual_seed(seed))


def structure(z: torch.Tensor) -> torch.Tensor:
    """Where two channels agree in sign and a third is not large: no linear function of the channels."""
    return ((z[:, :1] * z[:, 1:2] + 0.5 * z[:, 2:3]) > 0.8).float()


def test_a_structure_is_found_in_another_image_without_training():
    head = ClosedFormHead(3, 64)
    tokens = head.fit(image(0), structure(image(0)))
    scores, truth = head(image(1), tokens), structure(image(1)) > 0.5
    found = scores > 0
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice > 0.8
    assert float(scores.abs().max()) <= REACH
    assert 0.2 < float(head.quality(tokens)) < 1


def test_its_weights_are_those_of_the_regression_written_out():
    z, head = image(2, channels=2, side=12), ClosedFormHead(2, 64)
    mask = (z[:, :1] > 0.5).float()
    got = head.fit(z, mask).flatten()[: head.size].double().numpy()

    x = z.flatten(2)[0].double().numpy()
    products = np.stack([np.ones(x.shape[1]), x[0], x[1], x[0] * x[0], x[0] * x[1], x[1] * x[1]])
    inside = mask.flatten().numpy() > 0.5
    mean, deviation = products.mean(1), products.std(1)
    mean[0], deviation[0] = 0, 1
    standard = (products - mean[:, None]) / deviation[:, None]
    weight = np.where(inside, inside.sum() ** -BALANCE, (~inside).sum() ** -BALANCE)
    weight /= weight.sum()
    system = (standard * weight) @ standard.T + RIDGE * np.eye(6)
    solution = np.linalg.solve(system, (standard * weight) @ np.where(inside, 1.0, -1.0)) / deviation
    solution[0] -= solution[1:] @ mean[1:]
    np.testing.assert_allclose(got, solution, rtol=2e-3, atol=2e-4)


def test_a_mask_that_is_empty_scores_nothing():
    head = ClosedFormHead(3, 64)
    tokens = head.fit(image(0), torch.zeros(1, 2, 24, 24, 24))
    assert not tokens.any()
    assert not head(image(1), tokens).any()


def test_the_voxels_of_a_fit_stand_for_all_and_none_of_a_small_structure_is_left_out():
    masks = torch.zeros(2, 200_000)
    masks[0, :90_000] = 1
    masks[1, 150_000:150_050] = 1
    chosen, weight = thinned(masks)
    assert len(chosen) < 20_000
    assert float(weight.sum()) == pytest.approx(200_000, rel=1e-3)
    assert float((weight * masks[0, chosen]).sum()) == pytest.approx(90_000, rel=1e-3)
    assert float(masks[1, chosen].sum()) == 50
    assert torch.equal(thinned(masks)[0], chosen), "the same reference makes the same embedding"


@torch.inference_mode()
def test_iris_with_it_starts_as_iris_plus_its_scores():
    torch.manual_seed(0)
    iris = Iris(3, base_width=4, task_channels=64, queries=3, closed_form=True).eval()
    plain = Iris(3, base_width=4, task_channels=64, queries=3).eval()
    plain.load_state_dict({k: v for k, v in iris.state_dict().items() if not k.startswith("refinement.")})
    z, query = image(3, side=32), image(4, side=32)
    masks = torch.cat([structure(z), (z[:, 1:2] > 1).float()], dim=1)
    task = iris.encode_task(iris.encode_image(z), masks)
    assert task.shape == (1, 2, iris.tokens, 64)
    assert iris.tokens == plain.tokens + 1
    added = iris(query, z, masks) - plain(query, z, masks)
    scores = iris.closed_form(query, task[:, :, plain.tokens :])
    torch.testing.assert_close(added, scores, atol=1e-4, rtol=1e-4)
    swapped = iris(query, z, masks[:, [1, 0]])
    torch.testing.assert_close(swapped[:, [1, 0]], iris(query, z, masks), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_what_the_decoder_knows_is_left_to_it():
    """By the Dice of its own mask of the reference, which the embedding holds; between the limits both have a share."""
    torch.manual_seed(0)
    iris = Iris(3, base_width=4, task_channels=64, queries=3, closed_form=True).eval()
    z, query = image(3, side=32), image(4, side=32)
    features = iris.encode_image(query)
    task = iris.encode_task(iris.encode_image(z), torch.cat([structure(z), (z[:, 1:2] > 1).float()], dim=1))
    own, weights = task[:, :, : iris.own_tokens], task[:, :, iris.own_tokens :]
    assert float(iris.closed_form.decoded(weights).max()) < UNKNOWN, "random weights know nothing"

    def decoded(dice: float) -> torch.Tensor:
        told = iris.closed_form.with_decoded(weights, torch.full((1, 2), dice))
        return iris.decode(features, torch.cat([own, told], dim=2))

    alone, refined = iris._decode(features, own)[0], decoded(0.0)
    torch.testing.assert_close(decoded(UNKNOWN), refined)
    torch.testing.assert_close(decoded(KNOWN), alone)
    torch.testing.assert_close(decoded((KNOWN + UNKNOWN) / 2), (alone + refined) / 2, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(alone, refined)


def test_a_structure_s_rival_is_the_best_of_the_others():
    scores = torch.tensor([0.2, 0.9, -0.5])[None, :, None, None, None]
    assert best_of_others(scores).flatten().tolist() == pytest.approx([0.9, 0.2, 0.9])
    assert best_of_others(scores[:, :1]).flatten().tolist() == [-REACH]


@torch.inference_mode()
def test_many_structures_are_refined_in_parts_without_a_difference(monkeypatch):
    torch.manual_seed(0)
    refinement = Refinement(3, 4, 64).eval()
    torch.nn.init.normal_(refinement.correction.weight)
    logits, scores = torch.randn(2, 1, 5, 16, 16, 16)
    given = logits, scores, torch.randn(1, 7, 16, 16, 16), torch.randn(1, 5, 64), torch.rand(1, 5)
    whole = refinement(*given)
    monkeypatch.setattr("dropiris.networks.iris_refinement.STRUCTURES_AT_ONCE", 2)
    torch.testing.assert_close(refinement(*given), whole)
