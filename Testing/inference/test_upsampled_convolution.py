"""The decoder's faster form gives the network's own numbers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropiris.inference.upsampled_convolution import SplitUNet, UpsampledConvolution, made_faster
from dropiris.networks import AnatomixUNet, UNet


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sides", [(2, 3, 5), (1, 4, 2)])
@torch.inference_mode()
def test_one_step_equals_upsampling_concatenating_and_convolving(sides, bias):
    torch.manual_seed(0)
    convolution = nn.Conv3d(3 + 6, 4, 3, padding=1, padding_mode="reflect", bias=bias)
    small, skip = torch.randn(2, 6, *sides), torch.randn(2, 3, *(2 * n for n in sides))
    expected = convolution(torch.cat([skip, F.interpolate(small, scale_factor=2, mode="nearest")], dim=1))
    torch.testing.assert_close(UpsampledConvolution(convolution, 6)(small, skip), expected, atol=1e-5, rtol=1e-5)


def warmed_up(network):
    """A network whose norms have seen something."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 2.0)
            module.bias.data.normal_()
    return network.eval()


@pytest.mark.parametrize(
    "build",
    [lambda: UNet(2, 3, 4, 3), lambda: AnatomixUNet(1, 3, 2, 2), lambda: AnatomixUNet(1, 3, 2, 2, layer="final")],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@torch.inference_mode()
def test_a_network_made_faster_gives_the_same_numbers(build, device):
    torch.manual_seed(0)
    network = warmed_up(build())
    image = torch.randn(1, network.model[0].in_channels, 16, 24, 16)
    before = network(image)
    faster = made_faster(network, device)  # for a GPU it is only folded, which runs here as well
    assert isinstance(faster, SplitUNet) == (device == "cpu")
    torch.testing.assert_close(faster(image), before, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_in_bfloat16_it_is_as_near_to_float32_as_before():
    torch.manual_seed(0)
    image = torch.randn(1, 2, 16, 16, 16)
    network = warmed_up(UNet(2, 3, 8, 2))
    exact = network(image)

    def error(other):
        return float((other.bfloat16()(image.bfloat16()).float() - exact).abs().mean() / exact.std())

    split = UNet(2, 3, 8, 2)
    split.load_state_dict(network.state_dict())
    assert error(made_faster(split, "cpu")) < 1.5 * error(network) + 1e-3


@torch.inference_mode()
def test_windows_that_do_not_fit_the_pooling_are_still_refused():
    with pytest.raises(ValueError, match="multiples of 4"):
        made_faster(UNet(1, 2, 2, 2), "cpu")(torch.zeros(1, 1, 10, 16, 16))
