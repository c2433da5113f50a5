"""Iris: encode a reference once, segment with few and with many classes, and the paper's headline case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from figure import Figure
from random_models import iris_bundle, structures_of
from sizes import Sizes, network_in_words
from stopwatch import median, seconds_of

from dropiris.inference import IrisSegmenter
from dropiris.inference.devices import Device
from dropiris.volume import LabelMap, Reference, Volume

# Sec. 4: 10 queries x 15 classes x 128^3 with one reference on an A100.
HEADLINE_SECONDS, HEADLINE_GB = 2.0, 7.4
# "All classes in one pass": 15 classes may cost this much more than one.
MANY_CLASSES = 1.3


def iris_speed(sizes: Sizes, device: Device, runs: int) -> list[Figure]:
    """Each figure at the device's precision, then the same in float32."""
    with TemporaryDirectory(prefix="benchmark-") as folder:
        bundle = iris_bundle(Path(folder) / "iris", sizes.iris, sizes.window)
        segmenter = IrisSegmenter(bundle, device)
        plain = IrisSegmenter(bundle, replace(device, dtype="float32"))
        figures = [
            *_window_figures(sizes, segmenter, plain, runs),
            *_click_figures(sizes, segmenter, plain, runs),
            *_headline(sizes, segmenter),
        ]
    about = network_in_words(segmenter.scorer.iris, sizes.iris)
    return [replace(figures[0], note=about), *figures[1:]]


def _window_figures(sizes: Sizes, segmenter: IrisSegmenter, plain: IrisSegmenter, runs: int) -> list[Figure]:
    """Encoding and decoding of one window."""
    image, masks = torch.rand(1, 1, *(sizes.window,) * 3), window_masks(sizes)
    window, where = f"{sizes.window}³", segmenter.scorer.torch_device

    def both(key: str, what: str, run: Callable[[Any], Any]) -> tuple[list[Figure], float]:
        slow = seconds_of(lambda: run(plain.scorer), runs, where)
        fast = slow
        if segmenter.device.dtype != "float32":
            fast = seconds_of(lambda: run(segmenter.scorer), runs, where)
        ours = Figure(
            f"iris.{key}", f"{what}, {segmenter.device.dtype}", median(fast), "s",
            median(fast) / median(slow), "float32", runs=fast,
        )  # fmt: skip
        return [Figure(f"iris.{key}_float32", f"{what}, float32", median(slow), "s", runs=slow), ours], median(fast)

    first = sizes.classes[0]
    figures, _ = both(
        "encode", f"encode one {window} reference, 1 class", lambda scorer: scorer.encode(image, masks[:1])
    )
    seconds = {}
    for count in sizes.classes:
        tokens = {scorer: scorer.encode(image, masks[:count]) for scorer in (segmenter.scorer, plain.scorer)}

        def query(scorer: Any, tokens: dict[Any, torch.Tensor] = tokens) -> torch.Tensor:
            scorer.look_for(tokens[scorer])
            return scorer(image)

        named = f"{count} class{'es' if count > 1 else ''}"
        found, seconds[count] = both(f"query_{count}", f"segment one {window} query, {named}", query)
        figures += found
    last = sizes.classes[-1]
    figures.append(
        Figure(
            "iris.many_classes",
            f"{last} classes beyond {first}",
            seconds[last] - seconds[first],
            "s",
            seconds[last] / seconds[first],
            f"{first} class",
            MANY_CLASSES,
        )
    )
    return figures


def _click_figures(sizes: Sizes, segmenter: IrisSegmenter, plain: IrisSegmenter, runs: int) -> list[Figure]:
    """A whole scan: from its reference, and again with the task still there."""
    reference, count = scan_with_labels(sizes), sizes.classes[-1]
    figures = []
    for who, name in ((segmenter, segmenter.device.dtype), (plain, "float32")):
        task = who.encode([reference])
        first = seconds_of(
            lambda who=who: who.segment(reference.volume, who.encode([reference])), runs, who.device.torch_device
        )
        second = seconds_of(
            lambda who=who, task=task: who.segment(reference.volume, task), runs, who.device.torch_device
        )
        suffix = "" if who is segmenter else "_float32"
        figures += [
            Figure(
                f"iris.first_query{suffix}", f"first query: reference and scan, {count} classes, {name}",
                median(first), "s", runs=first,
            ),
            Figure(
                f"iris.second_query{suffix}", f"second query, task warm, {count} classes, {name}",
                median(second), "s", median(second) / median(first), "first query", runs=second,
            ),
        ]  # fmt: skip
        if segmenter.device.dtype == "float32":
            break
    return figures


def _headline(sizes: Sizes, segmenter: IrisSegmenter) -> list[Figure]:
    """Encode one reference, then segment every query with all classes; once, without a warm-up on the processor."""
    scorer, gpu = segmenter.scorer, segmenter.device.torch_device.startswith("cuda")
    images, masks = torch.rand(1 + sizes.queries, 1, 1, *(sizes.window,) * 3), window_masks(sizes)

    def run() -> None:
        scorer.look_for(scorer.encode(images[0], masks))
        for image in images[1:]:
            scorer(image)

    if gpu:
        run()
        torch.cuda.reset_peak_memory_stats()
    taken = seconds_of(run, 1, segmenter.device.torch_device, warm_up=False)
    what = f"{sizes.queries} queries × {len(masks)} classes × {sizes.window}³, one reference"
    peak = torch.cuda.max_memory_allocated() / 1e9 if gpu else None
    note = "Headline targets are an A100's; the processor's time is not held against them."
    return [
        Figure(
            "iris.headline", f"{what} ({segmenter.device.name})", taken[0], "s",
            target=HEADLINE_SECONDS if gpu else None, runs=taken, note=note,
        ),
        Figure(
            "iris.headline_memory", "the same, peak GPU memory", peak, "GB",
            target=HEADLINE_GB, note="" if gpu else "Peak GPU memory needs a CUDA GPU.",
        ),
    ]  # fmt: skip


def window_masks(sizes: Sizes) -> torch.Tensor:
    """A bar per class through a window, (K, D, H, W)."""
    count, side = sizes.classes[-1], sizes.window
    edges = np.linspace(0, side, count + 1).astype(int)
    masks = torch.zeros(count, side, side, side)
    for n in range(count):
        masks[n, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4, edges[n] : edges[n + 1]] = 1
    return masks


def scan_with_labels(sizes: Sizes) -> Reference:
    """A scan of a window's size whose structures share one working spacing: one pass finds all."""
    masks = window_masks(sizes).numpy()
    labels = sum((n + 1) * mask.astype(np.uint8) for n, mask in enumerate(masks))
    array = np.random.default_rng(0).normal(100, 20, labels.shape).astype(np.float32) + 40 * labels
    layer = LabelMap(labels.astype(np.uint8), np.eye(4), structures_of(len(masks)))
    return Reference(Volume(array, np.eye(4), "reference", "MR"), (layer,))
