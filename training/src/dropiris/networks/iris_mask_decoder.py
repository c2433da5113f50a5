"""Iris's mask decoder (Sec. 3.3): all K masks of a query from one pass."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from dropiris.networks.iris_encoder import ImageFeatures, ResidualBlock


class CrossAttention(nn.Module):
    """Pre-norm residual cross-attention (B, N, C) <- (B, M, C), followed by a small MLP."""

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.norm, self.source_norm, self.mlp_norm = (nn.LayerNorm(channels) for _ in range(3))
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        memory = self.source_norm(source)
        x = x + self.attention(self.norm(x), memory, memory, need_weights=False)[0]
        return x + self.mlp(self.mlp_norm(x))


class MaskDecoder(nn.Module):
    """Query features F_q and the tokens T of all classes exchange information, then decode to full resolution.

    The tokens of all classes enter together (K (m+1) tokens in, K masks out). F_q attends to all of them, so a mask
    depends a little on which other classes are asked for; the classes' order does not matter, since no token carries
    a position.
    """

    def __init__(self, base_width: int, task_channels: int, rounds: int = 2):
        super().__init__()
        c, b = task_channels, base_width
        self.to_tokens = nn.ModuleList(CrossAttention(c) for _ in range(rounds))
        self.to_image = nn.ModuleList(CrossAttention(c) for _ in range(rounds))
        self.at_half = ResidualBlock(c + 2 * b, 2 * b)
        self.at_full = ResidualBlock(2 * b + b, b)
        self.mask_token = nn.Sequential(nn.LayerNorm(c), nn.Linear(c, c), nn.GELU(), nn.Linear(c, b + 1))

    def forward(self, query: ImageFeatures, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``tokens`` T (B, K, m+1, C) to logits (B, K, D, H, W), features (B, b, D, H, W), class tokens (B, K, C)."""
        b, k, n, c = tokens.shape
        sides = query.task.shape[2:]
        image = query.task.flatten(2).transpose(1, 2)
        classes = tokens.to(image.dtype).reshape(b, k * n, c)
        for to_tokens, to_image in zip(self.to_tokens, self.to_image, strict=True):
            classes = to_tokens(classes, image)
            image = to_image(image, classes)
        x = image.transpose(1, 2).unflatten(2, sides)
        x = self.at_half(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), query.half], dim=1))
        x = self.at_full(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), query.full], dim=1))
        # the first token of a class is T_f; after the exchange it weighs the full-resolution channels
        own = classes.reshape(b, k, n, c)[:, :, 0]
        weights = self.mask_token(own)
        logits = torch.einsum("bcdhw,bkc->bkdhw", x, weights[..., :-1].to(x.dtype))
        return logits + weights[..., -1, None, None, None].to(x.dtype), x, own
