"""Iris: segment a query with the task embedding of a labelled reference, all classes in one pass."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from dropiris.networks.iris_closed_form import ClosedFormHead
from dropiris.networks.iris_encoder import ImageFeatures, IrisEncoder
from dropiris.networks.iris_mask_decoder import MaskDecoder
from dropiris.networks.iris_place import Place, with_place
from dropiris.networks.iris_refinement import Refinement
from dropiris.networks.iris_similarity import PROTOTYPES, SimilarityPrior
from dropiris.networks.iris_task_encoder import STRIDE, TaskEncoder

# A decoder that finds the reference's own structure so well knows it: its mask is taken as it is, below the first only
# in part, at the second not at all.
KNOWN, UNKNOWN = 0.8, 0.65


def decoder_share(dice: torch.Tensor) -> torch.Tensor:
    """How far to believe the decoder alone, 0..1, by the Dice of its own mask of the reference."""
    return ((dice - UNKNOWN) / (KNOWN - UNKNOWN)).clamp(0, 1)


class Iris(nn.Module):
    """Encoder, task encoder, similarity prior and mask decoder.

    Parameters
    ----------
    in_channels : int
        1 for the published network; 1 + the extractor's channels for the stable variant (17 with anatomix).
    base_width : int
        Width of the first level (paper: 32).
    task_channels : int
        C of the task features and tokens, a multiple of 64.
    queries : int
        m, the learned contextual queries (paper: 10).
    similarity : bool
        Add the similarity prior.
    closed_form : bool
        Add the head in closed form, :mod:`dropiris.networks.iris_closed_form`; of use with stable features.
    downsamplings : int
        Of the encoder, at least 3 (paper: 4).

    Notes
    -----
    A task embedding is a tensor (B, K, m + 4, C): T_f, m tokens of T_c, then three prototypes of the prior; with the
    head in closed form its weights follow in a few more.
    Nothing at query time depends on how many references it was averaged from.
    """

    def __init__(
        self,
        in_channels: int = 1,
        base_width: int = 32,
        task_channels: int = 128,
        queries: int = 10,
        similarity: bool = True,
        closed_form: bool = False,
        downsamplings: int = 4,
    ):
        super().__init__()
        self.own_tokens = queries + 1 + PROTOTYPES
        self.closed_form = ClosedFormHead(in_channels, task_channels) if closed_form else None
        self.refinement = Refinement(in_channels, base_width, task_channels) if closed_form else None
        self.tokens = self.own_tokens + (self.closed_form.tokens if self.closed_form else 0)
        self.task_channels = task_channels
        self.encoder = IrisEncoder(in_channels, base_width, task_channels, downsamplings)
        self.multiple = self.encoder.multiple
        self.task_encoder = TaskEncoder(task_channels, queries)
        self.prior = SimilarityPrior(task_channels)
        self.use_prior = similarity
        self.decoder = MaskDecoder(base_width, task_channels)

    def encode_image(self, image: torch.Tensor) -> ImageFeatures:
        """E(x): (B, in_channels, D, H, W) to features; sides are multiples of ``multiple``."""
        return self.encoder(image)

    def encode_task(self, reference: ImageFeatures, masks: torch.Tensor) -> torch.Tensor:
        """Features and masks (B, K, D, H, W) in 0..1 of a reference to its task embedding (B, K, tokens, C)."""
        task: torch.Tensor = self.task_encoder(reference.task, self.prior.project(reference.task), masks)
        if self.closed_form is None:
            return task
        weights = self.closed_form.fit(reference.seen, masks)
        with torch.no_grad():
            found = self._decode(reference, task)[0].sigmoid().float()
            both, size = (found * masks).sum((2, 3, 4)), (found + masks).sum((2, 3, 4))
        weights = self.closed_form.with_decoded(weights, (2 * both + 1) / (size + 1))
        return torch.cat([task, weights], dim=2)

    def decode(self, query: ImageFeatures, task: torch.Tensor, place: Place | None = None) -> torch.Tensor:
        """Features of a query and a task embedding (B, K, tokens, C) to logits (B, K, D, H, W), one per class.

        With ``place``, where aligned references have each class, as far as it is to be believed.
        """
        if place is not None:
            believed = place.believed[..., None, None, None]
            if not bool((believed > 0).any()):
                return self.decode(query, task)
            fused = self._decode_with(query, task, place)
            if bool((believed == 1).all()):
                return fused
            believed = believed.to(fused.dtype)
            return believed * fused + (1 - believed) * self.decode(query, task)
        own, weights = task[:, :, : self.own_tokens], task[:, :, self.own_tokens :]
        logits, image, tokens = self._decode(query, own)
        if self.closed_form is None or self.refinement is None:
            return logits
        known = self.known(task)[..., None, None, None].to(logits.dtype)
        if not self.training and bool((known == 1).all()):
            return logits
        image = torch.cat([image, query.seen.to(image.dtype)], dim=1)
        scores, quality = self.closed_form(query.seen, weights), self.closed_form.quality(weights)
        refined = self.refinement(logits, scores, image, tokens, quality)
        # Training shows the refinement every structure.
        return refined if self.training else known * logits + (1 - known) * refined

    def _decode_with(self, query: ImageFeatures, task: torch.Tensor, place: Place) -> torch.Tensor:
        own, weights = task[:, :, : self.own_tokens], task[:, :, self.own_tokens :]
        logits = self._decode(query, own)[0]
        scores = None if self.closed_form is None else self.closed_form(query.seen, weights)
        return with_place(logits, self.known(task), scores, place)

    def known(self, task: torch.Tensor) -> torch.Tensor:
        """How far the decoder knows each class of a task embedding (B, K, tokens, C), 0..1: (B, K)."""
        if self.closed_form is None:
            return task.new_ones(task.shape[:2])
        return decoder_share(self.closed_form.decoded(task[:, :, self.own_tokens :]))

    def _decode(self, query: ImageFeatures, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The paper's masks and the prior: logits (B, K, D, H, W), features (B, b, D, H, W), class tokens (B, K, C)."""
        logits, image, tokens = self.decoder(query, own[:, :, :-PROTOTYPES])
        if self.use_prior:
            prior = self.prior(self.prior.project(query.task), own[:, :, -PROTOTYPES:])
            logits = logits + F.interpolate(prior.to(logits.dtype), scale_factor=STRIDE, mode="trilinear")
        return logits, image, tokens

    def forward(
        self, query: torch.Tensor, reference: torch.Tensor, masks: torch.Tensor, with_task: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """One episode (Algorithm 1): query and reference (B, in_channels, D, H, W), masks (B, K, D, H, W).

        Returns the query's logits (B, K, D, H, W), and the task embedding (B, K, tokens, C) where asked for.
        """
        task = self.encode_task(self.encode_image(reference), masks)
        logits = self.decode(self.encode_image(query), task)
        return (logits, task) if with_task else logits
