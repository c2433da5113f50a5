"""Under torchrun: how far the gradient of a shared batch is from that of one process, in double precision.

Curves cannot tell: Adam does not notice a gradient of the wrong size, and neither does clipping.
"""

import torch
import torch.distributed as dist
from torch import nn

from dropiris.networks import UNet
from dropiris.train.process_sums import share_batch_norm
from dropiris.train.segmentation_loss import segmentation_loss


def build():
    """Rows whose structures are of very different size, so that weights by size differ from process to process."""
    torch.manual_seed(0)
    images = torch.randn(4, 3, 16, 16, 16).double()
    share = torch.tensor([0.02, 0.1, 0.5, 0.9])[:, None, None, None, None]
    return UNet(3, 2, 4, 3).double().train(), images, (torch.rand(4, 1, 16, 16, 16) < share).long()


def loss_of(logits, target):
    return segmentation_loss(logits, target, balance=0.5)


def gradient_of(network):
    return torch.cat([weight.grad.flatten() for weight in network.parameters()])


network, images, targets = build()
loss_of(network(images), targets).backward()
alone = gradient_of(network)

dist.init_process_group("gloo")
rank, share = dist.get_rank(), len(images) // dist.get_world_size()
own = slice(rank * share, (rank + 1) * share)
network, images, targets = build()
model = nn.parallel.DistributedDataParallel(share_batch_norm(network, torch.device("cpu")))
loss_of(model(images[own]), targets[own]).backward()
if rank == 0:
    print(f"difference {float((gradient_of(network) - alone).norm() / alone.norm()):.3g}")
dist.destroy_process_group()
