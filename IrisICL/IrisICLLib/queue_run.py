"""A run over several scans: one after the other, and a scan that fails stops no other."""

import logging
import time
from dataclasses import dataclass

from dropiris.errors import Cancelled, DropIrisError


@dataclass(frozen=True)
class ScanOutcome:
    """What became of one scan of a queue: ``result`` is its segmentation node, or None with the ``reason``."""

    volume: object
    result: object = None
    seconds: float = 0.0
    reason: str = ""


def segment_queue(scans, encode, segment, first, report=None):
    """The work of a run over scans.

    Parameters
    ----------
    scans : list of vtkMRMLScalarVolumeNode
    encode : generator
        Of the references' task files; see :func:`IrisICLLib.encoding.encode`.
    segment : callable
        ``segment(scan, files, (begin, end), prefix)``: the generator of one scan's segmentation node.
    first : float
        Part of the run that ``encode`` takes, 0 to 1; the scans share the rest.
    report : object, optional
        See ``IrisICLLogic.startQueue``.

    Returns
    -------
    list of ScanOutcome
        The last scan's error is raised when none could be segmented.
    """
    report = report or _Silent()
    outcomes, error = [], None
    try:
        files = yield from encode
        for n, scan in enumerate(scans):
            report.started(scan)
            prefix = f"Scan {n + 1} of {len(scans)}, {scan.GetName()}: " if len(scans) > 1 else ""
            share = tuple(first + (1 - first) * part / len(scans) for part in (n, n + 1))
            began = time.monotonic()
            try:
                node = yield from segment(scan, files, share, prefix)
            except Cancelled:
                raise
            except Exception as problem:  # whatever it was, the row says it and the next scan has its turn
                error = problem
                outcomes.append(ScanOutcome(scan, reason=_reason(problem)))
                report.failed(scan, outcomes[-1].reason)
            else:
                outcomes.append(ScanOutcome(scan, node, time.monotonic() - began))
                report.done(scan, outcomes[-1].seconds, node)
    except Cancelled:
        done = sum(outcome.result is not None for outcome in outcomes)
        if done:
            raise Cancelled(f"Cancelled; {done} of {len(scans)} scans were segmented before.") from None
        raise
    finally:
        report.stopped()
    if error is not None and not any(outcome.result is not None for outcome in outcomes):
        raise error
    return outcomes


class _Silent:
    """A report nobody reads."""

    def started(self, volume): ...

    def done(self, volume, seconds, result): ...

    def failed(self, volume, reason): ...

    def stopped(self): ...


def _reason(problem):
    if isinstance(problem, DropIrisError):
        return str(problem)
    logging.getLogger(__name__).error("A scan of the queue failed", exc_info=problem)
    return f"Unexpected error: {problem}"
