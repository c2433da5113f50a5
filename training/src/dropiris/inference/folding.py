"""Batch norm folded into the convolution before it: one pass over memory less per layer, the same numbers."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dropiris.networks.anatomix import AnatomixUNet
from dropiris.networks.unet import UNet


def fold_batch_norm(network: UNet) -> UNet:
    """Fold every batch norm of a network in evaluation mode, in place, and drop layers its output does not need.

    Indices of ``network.model`` stay as they are; a folded norm becomes an identity. The penultimate layer of
    anatomix is taken before its batch norm, which therefore must not be folded.
    """
    network.eval()
    layers = network.model
    stop = len(layers)
    if isinstance(network, AnatomixUNet) and network.layer == "penultimate":
        stop = network.skip_to[-1] + 2
    for index in range(stop - 1):
        convolution, norm = layers[index], layers[index + 1]
        if isinstance(convolution, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d) and index + 1 < stop:
            layers[index] = fuse_conv_bn_eval(convolution, norm)
            layers[index + 1] = nn.Identity()
    for index in range(stop, len(layers)):
        layers[index] = nn.Identity()
    return network
