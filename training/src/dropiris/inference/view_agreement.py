"""Do partial views of a scan agree with the whole? The check of DropGenSeg, the number beside each structure.

DropGen trains with channels of [image, stable features] dropped, so that any part of them should do. Where parts see
something else than the whole, the model does not know this scan.

Only windows that touch a structure are looked at again, with little overlap and one extraction for all views: less
than a second pass for a scan of many windows, as many forward passes as views for one of a single window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product

import numpy as np
import torch

from dropiris.inference.dropgen_segmenter import DropGenSegmenter
from dropiris.inference.preparation import prepare
from dropiris.inference.sliding_window import pad_to_window
from dropiris.inference.window_grid import window_starts
from dropiris.networks.views import views
from dropiris.progress import CancelToken, Progress, ProgressCallback, ignore_progress
from dropiris.trust import VIEWS, TrustReport, dropout, voxels_of, why_not
from dropiris.volume import LabelMap, Volume

STAGE = "Checking the result"
# Of a window that the next one covers again; each voxel is judged in the window whose middle is nearest.
OVERLAP = 0.25
VIEW_NAMES = ("without the image", "without odd features", "without even features")

Box = tuple[slice, slice, slice]


def partial_views(channels: int, p: float) -> torch.Tensor:
    """What each view multiplies the channels of z by, (views, channels): 0, or as in training 1 / (1 - p).

    The image is dropped in one view; every other feature in the next, the other half in the last. A view of the image
    alone says nothing: all features at once are all but never dropped in training, and it finds nothing at all.
    """
    keep = torch.ones(len(VIEW_NAMES), channels)
    keep[0, 0] = 0
    keep[1, 1::2] = 0
    keep[2, 2::2] = 0
    return keep / (1 - p)


def view_agreement(
    segmenter: DropGenSegmenter,
    volume: Volume,
    labels: LabelMap,
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
) -> TrustReport:
    """Dice (0 to 1) between a result and what partial views find, the mean over views, for every structure.

    Parameters
    ----------
    volume, labels : Volume, LabelMap
        The scan and its result, on the scan's grid.

    Raises
    ------
    InputError
        If the scan cannot be used.
    Cancelled
        Within one window.
    """
    names = [s.name for s in labels.structures]
    why = why_not(segmenter.card)
    if why:
        return TrustReport.unavailable(VIEWS, names, why)
    progress(Progress(STAGE))
    grid, image = prepare(volume, segmenter.card.intensity_rule, segmenter.card.spacing)
    padded, inside = pad_to_window(image, segmenter.windows.size)
    result = np.zeros(padded.shape, labels.array.dtype)
    result[inside] = grid.labels_to_model(labels.array)
    channel = {s.name: n for n, s in enumerate(segmenter.structures, start=1)}
    ours, theirs, both = (np.zeros((len(VIEW_NAMES), len(names)), np.int64) for _ in range(3))
    cores = [core for core in _cores(padded.shape, segmenter.windows.size) if result[core[1]].any()]
    for n, (window, core) in enumerate(cores):
        if cancel is not None:
            cancel.raise_if_cancelled()
        progress(Progress(STAGE, n / len(cores)))
        part = tuple(slice(c.start - w.start, c.stop - w.start) for c, w in zip(core, window, strict=True))
        seen = _seen(segmenter, padded[window])[(slice(None), *part)]
        for k, structure in enumerate(labels.structures):
            truth, found = result[core] == structure.label, seen == channel[structure.name]
            ours[:, k] += found.sum((1, 2, 3))
            theirs[:, k] += truth.sum()
            both[:, k] += (found & truth).sum((1, 2, 3))
    progress(Progress(STAGE, 1.0))
    dice = 2 * both / np.maximum(ours + theirs, 1)
    parts = {name: dict(zip(VIEW_NAMES, of.tolist(), strict=True)) for name, of in zip(names, dice.T, strict=True)}
    values = dict(zip(names, dice.mean(axis=0).tolist(), strict=True))
    return TrustReport(VIEWS, values, voxels_of(labels), "", parts)


@torch.inference_mode()
def _seen(segmenter: DropGenSegmenter, window: np.ndarray) -> np.ndarray:
    """Channel that each view decides on, (views, D, H, W), of one window (D, H, W) of the prepared image."""
    scorer = segmenter.scorer
    image = torch.from_numpy(np.ascontiguousarray(window))[None, None].to(scorer.torch_device, scorer.dtype)
    z = views(scorer.extractor, image)
    found = []
    for view in partial_views(z.shape[1], dropout(segmenter.card)).to(z):
        scores = scorer.predictor((z * view[:, None, None, None]).contiguous(memory_format=torch.channels_last_3d))
        found.append(scores[0].argmax(dim=0).cpu().numpy())
    return np.stack(found)


def _cores(shape: Sequence[int], size: Sequence[int]) -> Iterator[tuple[Box, Box]]:
    """Windows, and the part of each that is nearer to its middle than to any other's: these fill the grid once."""
    along = []
    for side, width in zip(shape, size, strict=True):
        starts = window_starts(side, width, OVERLAP)
        edges = [0, *((a + width + b) // 2 for a, b in pairwise(starts)), side]
        along.append([(slice(s, s + width), slice(*edges[n : n + 2])) for n, s in enumerate(starts)])
    for parts in product(*along):
        window, core = zip(*parts, strict=True)
        yield window, core
