"""The worker's own requests, with the seconds spent in the network reported at the end of each segmentation.

Given to :class:`dropiris.worker.client.WorkerClient` as ``handlers="timed_worker:handlers"``: the time around the
network is then known from the very same run, not from a second one on a machine that meanwhile did something else.
"""

from __future__ import annotations

import time
from typing import Any

from dropiris.progress import Progress
from dropiris.worker.handlers import handlers as shipped
from dropiris.worker.server import Call, Handler

MESSAGE = "seconds in the network: "


class TimedScorer:
    """A scorer that adds up the time of its calls."""

    def __init__(self, scorer: Any):
        self.scorer, self.seconds = scorer, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scorer, name)

    def __call__(self, windows: Any) -> Any:
        from stopwatch import wait_for

        start = time.perf_counter()
        scores = self.scorer(windows)
        wait_for(self.scorer.torch_device)
        self.seconds += time.perf_counter() - start
        return scores


def handlers() -> dict[str, Handler]:
    """The worker's table with DropGen's segmentation timed."""
    table = shipped()
    segment = table["segment_dropgen"]

    def timed(call: Call) -> dict[str, Any]:
        segmenter = call.session.segmenter("dropgen", call.params["model"], call.params["device"], call.progress)
        if not isinstance(segmenter.scorer, TimedScorer):
            segmenter.scorer = TimedScorer(segmenter.scorer)
        segmenter.scorer.seconds = 0.0
        result = segment(call)
        call.progress(Progress("Done", 1.0, message=f"{MESSAGE}{segmenter.scorer.seconds:.6f}"))
        return result

    return {**table, "segment_dropgen": timed}
