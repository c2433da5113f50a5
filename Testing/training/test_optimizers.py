"""LAMB and the exponential decay that Iris's paper trains with, and Muon."""

from itertools import pairwise

import pytest
import torch

from dropiris.train.iris_config import IrisConfig
from dropiris.train.optimizers import build_optimizer, build_schedule


def config(**settings) -> IrisConfig:
    return IrisConfig(data=["x"], max_steps=110, warmup_steps=10, learning_rate=1e-2, **settings)


def rates(**settings) -> list[float]:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = build_optimizer([weight], config(**settings))
    schedule = build_schedule(optimizer, config(**settings))
    found = []
    for _ in range(110):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_after_warming_up_the_rate_falls_by_the_same_factor_at_every_step_to_a_hundredth():
    found = rates(schedule="exponential")
    assert found[0] == pytest.approx(1e-3) and found[9] == pytest.approx(1e-2)
    factors = [b / a for a, b in pairwise(found[10:])]
    assert max(factors) == pytest.approx(min(factors)) == pytest.approx(0.01 ** (1 / 100))
    assert rates(schedule="cosine")[-1] < found[-1]


def test_a_step_of_lamb_is_the_layers_own_size_times_the_rate():
    """The trust ratio: with decay off, the first step moves each layer by learning rate times its norm."""
    for scale in (0.1, 2.0):  # LAMB counts norms up to 10
        weight = torch.nn.Parameter(torch.full((4, 4), scale))
        optimizer = build_optimizer([weight], config(optimizer="lamb", weight_decay=0.0))
        (weight.sum() * 7.0).backward()
        before = weight.detach().clone()
        optimizer.step()
        assert float((weight.detach() - before).norm() / before.norm()) == pytest.approx(1e-2, rel=1e-3)


def test_a_step_of_muon_moves_every_direction_of_a_convolution_alike():
    torch.manual_seed(0)
    kernel, norm = torch.nn.Parameter(torch.randn(8, 4, 3, 3, 3)), torch.nn.Parameter(torch.ones(8))
    optimizer = build_optimizer([kernel, norm], config(optimizer="muon", weight_decay=0.0))
    before = kernel.detach().clone()
    # a gradient that is nearly of rank one: plain descent would move along one direction alone
    steep = torch.randn(8, 1) @ torch.randn(1, 108) + 0.05 * torch.randn(8, 108)
    ((kernel.flatten(1) * steep).sum() + 7 * norm.sum()).backward()
    optimizer.step()
    moved = torch.linalg.svdvals((before - kernel.detach()).flatten(1)) / 1e-2
    assert 0.5 < float(moved.min()) and float(moved.max()) < 1.4
    assert torch.allclose(1 - norm.detach(), torch.tensor(1e-3), rtol=1e-3)  # AdamW at a tenth of the rate


@pytest.mark.parametrize("name", ["lamb", "muon"])
def test_an_optimiser_goes_on_from_its_saved_state_bit_for_bit(name):
    def train(steps: int, weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        for step in range(steps):
            optimizer.zero_grad()
            ((weight - 1) ** 2).sum().mul(1 + 0.1 * step).backward()
            optimizer.step()

    straight, first = (torch.nn.Parameter(torch.arange(48.0).reshape(2, 3, 2, 2, 2)) for _ in range(2))
    one, two = (build_optimizer([weight], config(optimizer=name)) for weight in (straight, first))
    train(4, straight, one)
    train(4, first, two)
    second = torch.nn.Parameter(first.detach().clone())
    three = build_optimizer([second], config(optimizer=name))
    three.load_state_dict(two.state_dict())
    train(3, straight, one)
    train(3, second, three)
    assert torch.equal(straight, second)
