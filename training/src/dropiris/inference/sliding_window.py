"""Overlapping windows over a volume of any size, with labels as the result and scores of a few planes in memory.

MONAI's ``sliding_window_inference`` returns the blended scores of the whole volume: 16 classes of a 512 x 512 x 400
scan are 6.7 GB, and twice that while it divides by the weights. Here windows come in order along the longest axis,
and planes that no further window reaches become labels at once (:class:`RollingScores`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch

from dropiris.errors import DeviceError, InputError
from dropiris.inference.blending import window_weights
from dropiris.inference.decisions import Decision
from dropiris.inference.devices import free_cache, is_out_of_memory
from dropiris.inference.finer_labels import FinerLabels, ScanGrid
from dropiris.inference.foreground import Foreground
from dropiris.inference.rolling_scores import Labels, RollingScores, SameLabels
from dropiris.inference.window_grid import OVERLAP, window_starts
from dropiris.progress import CancelToken, Progress, ProgressCallback, ignore_progress

Beside = Callable[[tuple[int, int, int]], object]
A = TypeVar("A")
R = TypeVar("R")


class Scorer(Protocol):
    """What turns windows into scores: a network with its device."""

    channels: int
    torch_device: str

    @property
    def __call__(self) -> Callable[..., torch.Tensor]:
        """Windows (B, 1, D, H, W), float32 on the CPU, to scores (B, channels, D, H, W) on its device.

        As a second argument a list of B things that are known beside the images, where :func:`segment_windows` is
        told of them.
        """
        ...

    def to_cpu(self) -> None:
        """Continue on the processor."""
        ...


@dataclass(frozen=True)
class Windows:
    """How a volume is covered.

    Attributes
    ----------
    size : tuple of 3 int
    overlap : float
        Share of a window that the next one covers again: 0.5, or 0.25 for about a third of the time.
    blending : {"gaussian", "constant"}
    batch : int
        Windows at a time.
    """

    size: tuple[int, int, int]
    overlap: float = OVERLAP
    blending: str = "gaussian"
    batch: int = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.overlap < 1.0:
            raise InputError(f"The overlap is {self.overlap:g}; it must be from 0 up to, but not including, 1.")


def pad_to_window(
    image: np.ndarray, window: Sequence[int], air: float | None = None
) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Grow an image (I, J, K) to at least one window; also where the original lies.

    With ``air`` (Iris: what lies beyond a training scan), else by repeating the edge (DropGen). Never mirrored: a
    mirrored border would show a second, wrong-sided copy of a structure.
    """
    missing = [max(0, w - n) for w, n in zip(window, image.shape, strict=True)]
    before = [m // 2 for m in missing]
    inside = tuple(slice(b, b + n) for b, n in zip(before, image.shape, strict=True))
    if any(missing):
        widths = [(b, m - b) for b, m in zip(before, missing, strict=True)]
        image = np.pad(image, widths, mode="edge") if air is None else np.pad(image, widths, constant_values=air)
    return image, inside


def segment_windows(
    image: np.ndarray,
    scorer: Scorer,
    decide: Decision,
    windows: Windows,
    foreground: Foreground,
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
    share: tuple[float, float] = (0.0, 1.0),
    onto: ScanGrid | None = None,
    beside: Beside | None = None,
) -> np.ndarray:
    """Segment an image.

    Parameters
    ----------
    image : ndarray (I, J, K) of float32
        On the model's grid, at least one window large.
    scorer, decide
        Network and rule: the result holds what ``decide`` returns, 0 outside the foreground.
    foreground : Foreground
        Of the same image; windows without any of it are skipped.
    share : (from, to)
        Which part of the whole operation this is, for ``progress``.
    onto : ScanGrid, optional
        Where labels go instead of the image's own grid; its labels are 0 until then.
    beside : callable, optional
        What the scorer is given beside the image, for a window that begins at these voxels of it.

    Returns
    -------
    ndarray (I, J, K) of uint8 (uint16 from 255 channels)
        Or the labels of ``onto``.

    Raises
    ------
    Cancelled
        Within one batch of windows.
    DeviceError
        When memory is too small in every fallback.
    """
    box = tuple(
        _at_least(part, size, side) for part, size, side in zip(foreground.box, windows.size, image.shape, strict=True)
    )
    labels = onto.labels if onto else np.zeros(image.shape, label_type(scorer.channels))
    axis = int(np.argmax([part.stop - part.start for part in box]))  # the longest: fewest scores in a slab across it
    taking = FinerLabels(onto.part(box), axis, decide) if onto else SameLabels(labels[box], axis, decide)
    run = _Run(image[box], axis, taking, scorer, windows, progress, cancel, share)

    def of_image(start: tuple[int, int, int]) -> tuple[int, int, int]:
        return (start[0] + box[0].start, start[1] + box[1].start, start[2] + box[2].start)

    run.keep_only(lambda start: foreground.touches(of_image(start), windows.size))
    run.beside = (lambda start: beside(of_image(start))) if beside else None
    run.all()
    return labels


def label_type(channels: int) -> type[np.unsignedinteger]:
    """What holds an index of so many channels."""
    return np.uint8 if channels < 255 else np.uint16


def _at_least(part: slice, size: int, side: int) -> slice:
    """Grow a slice to one window, inside the image."""
    grow = max(0, size - (part.stop - part.start))
    start = min(max(0, part.start - grow // 2), side - max(size, part.stop - part.start))
    return slice(start, start + max(size, part.stop - part.start))


class _Run:
    """One volume's pass: rows of windows in order, and what happens when memory runs out."""

    def __init__(
        self, image: np.ndarray, axis: int, labels: Labels, scorer: Scorer, windows: Windows,
        progress: ProgressCallback, cancel: CancelToken | None, share: tuple[float, float],
    ):  # fmt: skip
        self.image, self.axis, self.labels, self.scorer, self.windows = image, axis, labels, scorer, windows
        self.progress, self.cancel, self.share = progress, cancel, share
        self.starts = [window_starts(n, w, windows.overlap) for n, w in zip(image.shape, windows.size, strict=True)]
        self.rows = [self._row(along) for along in self.starts[self.axis]]
        self.weights = window_weights(windows.size, windows.blending)
        self.batch, self.scores_on = windows.batch, scorer.torch_device
        self.tile = self.tiles = 0
        self.slab: RollingScores | None = None
        self.beside: Beside | None = None

    def _row(self, along: int) -> list[tuple[int, int, int]]:
        sides = list(self.starts)
        sides[self.axis] = [along]
        return [(i, j, k) for i in sides[0] for j in sides[1] for k in sides[2]]

    def keep_only(self, wanted: Callable[[tuple[int, int, int]], bool]) -> None:
        """Skip the other windows."""
        self.rows = [[start for start in row if wanted(start)] for row in self.rows]
        self.tiles = sum(map(len, self.rows))

    def all(self) -> None:
        """Run every row, and decide what it leaves behind."""
        for row, along in zip(self.rows, self.starts[self.axis], strict=True):
            if self.slab is not None:
                self._with_fallback(self.slab.advance, along)
            waiting = list(row)
            while waiting:
                if self.cancel is not None:
                    self.cancel.raise_if_cancelled()
                taken = self._with_fallback(self._score, waiting)
                del waiting[:taken]
                self.tile += taken
                self.report()
        assert self.slab is not None
        self._with_fallback(self.slab.advance, self.image.shape[self.axis])

    def report(self, message: str = "") -> None:
        low, high = self.share
        fraction = low + (high - low) * self.tile / max(1, self.tiles)
        self.progress(Progress("Segmenting", fraction, self.tile, self.tiles, message))

    def _score(self, waiting: list[tuple[int, int, int]]) -> int:
        """Score the next windows and blend them in; how many there were."""
        slab = self._slab()
        starts = waiting[: self.batch]
        size = self.windows.size
        cut = [self.image[tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))] for start in starts]
        images = torch.from_numpy(np.stack(cut))[:, None]
        if self.beside is None:
            scores = self.scorer(images)
        else:
            scores = self.scorer(images, [self.beside(start) for start in starts])
        # conversions first: once adding begins nothing can run out of memory, so nothing is added twice
        scores, weights = scores.to(slab.scores), self.weights.to(slab.scores)
        for start, one in zip(starts, scores, strict=True):
            slab.add(one, weights, start)
        return len(starts)

    def _slab(self) -> RollingScores:
        if self.slab is None:
            depth, channels = self.windows.size[self.axis], self.scorer.channels
            self.slab = RollingScores(channels, self.image.shape, depth, self.axis, self.labels, self.scores_on)
        return self.slab

    def _with_fallback(self, work: Callable[[A], R], argument: A) -> R:
        """Do the work; each time memory runs out take the next step down and do it again."""
        while True:
            try:
                return work(argument)
            except Exception as problem:
                if not is_out_of_memory(problem):
                    raise
            # outside the handler, which would keep the failed call's tensors alive
            self._step_down()

    def _step_down(self) -> None:
        device = self.scorer.torch_device
        if self.batch > 1:
            self.batch = 1
            message = f"Not enough memory on {device} for several windows at a time; going on one by one."
        elif self.scores_on != "cpu":
            self.scores_on = "cpu"
            if self.slab is not None:
                self.slab.to_cpu()
            message = f"Not enough memory on {device} for the scores; they are kept in the computer's memory."
        elif device != "cpu":
            self.scorer.to_cpu()
            message = f"Not enough memory on {device}; going on with the processor, which is slower."
        else:
            raise DeviceError("This computer's memory is too small for the model; close other programs and try again.")
        free_cache(device)
        self.report(message)
