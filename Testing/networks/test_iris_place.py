"""Decoder, scores and place are believed as far as they agree, and as far as the alignment is."""

import pytest
import torch

from dropiris.networks.iris import Iris
from dropiris.networks.iris_place import Place, agreement, with_place

SIDES = (16, 16, 16)


def cube(low: int, high: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, *SIDES)
    mask[..., low:high, low:high, low:high] = 1
    return mask


def logits(mask: torch.Tensor) -> torch.Tensor:
    return 10 * (2 * mask - 1)


def place(share: torch.Tensor, believed: float = 1.0, likeness: float = 0.5, contrast: float = 0.9) -> Place:
    each = torch.ones(share.shape[:2])
    return Place(share, torch.logit(share, eps=0.01), believed * each, likeness * each, contrast * each)


def test_a_decoder_that_agrees_keeps_its_border():
    decoded = logits(cube(4, 12))
    both = with_place(decoded, torch.ones(1, 1), None, place(cube(5, 13)))
    assert torch.equal(both > 0, decoded > 0)


def test_a_decoder_that_finds_it_elsewhere_is_not_believed():
    """As where it takes one thing for another."""
    both = with_place(logits(cube(0, 6)), torch.ones(1, 1), None, place(cube(8, 15)))
    assert torch.equal(both > 0, cube(8, 15) > 0)


@pytest.mark.parametrize("how", [{"contrast": 0.3}, {"likeness": 0.85}], ids=["another contrast", "nearly the same"])
def test_what_the_scans_have_in_common_says_more_than_that_it_agrees(how):
    both = with_place(logits(cube(4, 12)), torch.ones(1, 1), None, place(cube(5, 13), **how))
    assert torch.equal(both > 0, cube(5, 13) > 0)


def test_a_structure_it_does_not_know_follows_place_and_scores():
    share, scores = cube(4, 12), 2 * cube(4, 13) - 1
    both = with_place(logits(cube(4, 12)), torch.zeros(1, 1), 2 * scores, place(0.8 * share + 0.1))
    assert torch.equal(both > 0, cube(4, 13) > 0)
    none = with_place(logits(cube(4, 12)), torch.zeros(1, 1), -0 * scores - 1, place(share))
    assert torch.equal(none > 0, share > 0)


def test_next_to_nothing_is_no_disagreement():
    assert agreement(logits(cube(0, 1)), cube(0, 0)).item() > 0.9
    assert agreement(logits(cube(0, 8)), cube(8, 16)).item() < 0.1


def test_each_class_is_decoded_with_its_place_as_far_as_that_is_believed():
    torch.manual_seed(0)
    iris = Iris(3, 8, 64, 2, closed_form=True, downsamplings=3).eval()
    image, masks = torch.randn(1, 3, *SIDES), torch.cat([cube(2, 9), cube(8, 15), cube(2, 5)], dim=1)
    with torch.inference_mode():
        features = iris.encode_image(image)
        task = iris.encode_task(features, masks)
        plain = iris.decode(features, task)
        fully = iris.decode(features, task, place(masks))
        found = place(masks)._replace(believed=torch.tensor([[1.0, 0.0, 0.25]]))
        both = iris.decode(features, task, found)
        none = iris.decode(features, task, place(masks, believed=0.0))
    assert torch.equal(none, plain) and not torch.equal(fully, plain)
    assert torch.equal(both[:, 0], fully[:, 0]) and torch.equal(both[:, 1], plain[:, 1])
    assert torch.allclose(both[:, 2], 0.25 * fully[:, 2] + 0.75 * plain[:, 2])
