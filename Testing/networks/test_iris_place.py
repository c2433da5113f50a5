"""Decoder, scores and place are believed as far as they agree."""

import torch

from dropiris.networks.iris import Iris
from dropiris.networks.iris_place import NOWHERE, agreement, with_place

SIDES = (16, 16, 16)


def cube(low: int, high: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, *SIDES)
    mask[..., low:high, low:high, low:high] = 1
    return mask


def logits(mask: torch.Tensor) -> torch.Tensor:
    return 10 * (2 * mask - 1)


def test_a_decoder_that_agrees_keeps_its_border():
    decoded = logits(cube(4, 12))
    both = with_place(decoded, torch.ones(1, 1), None, cube(5, 13))
    assert torch.equal(both > 0, decoded > 0)


def test_a_decoder_that_finds_it_elsewhere_is_not_believed():
    """As in another contrast, where the network takes one thing for another."""
    both = with_place(logits(cube(0, 6)), torch.ones(1, 1), None, cube(8, 15))
    assert torch.equal(both > 0, cube(8, 15) > 0)


def test_a_structure_it_does_not_know_follows_place_and_scores():
    place, scores = cube(4, 12), 2 * cube(4, 13) - 1
    both = with_place(logits(cube(4, 12)), torch.zeros(1, 1), 2 * scores, 0.8 * place + 0.1)
    assert torch.equal(both > 0, cube(4, 13) > 0)
    assert torch.equal(with_place(logits(cube(4, 12)), torch.zeros(1, 1), -0 * scores - 1, place) > 0, place > 0)


def test_next_to_nothing_is_no_disagreement():
    assert agreement(logits(cube(0, 1)), cube(0, 0)).item() > 0.9
    assert agreement(logits(cube(0, 8)), cube(8, 16)).item() < 0.1


def test_a_class_without_a_place_is_decoded_as_without_references():
    torch.manual_seed(0)
    iris = Iris(3, 8, 64, 2, closed_form=True, downsamplings=3).eval()
    image, masks = torch.randn(1, 3, *SIDES), torch.cat([cube(2, 9), cube(8, 15)], dim=1)
    with torch.inference_mode():
        features = iris.encode_image(image)
        task = iris.encode_task(features, masks)
        plain = iris.decode(features, task)
        place = torch.cat([masks[:, :1], torch.full_like(masks[:, 1:], NOWHERE)], dim=1)
        both = iris.decode(features, task, place)
    assert torch.equal(both[:, 1], plain[:, 1])
    assert not torch.equal(both[:, 0], plain[:, 0])
