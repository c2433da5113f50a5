"""``--trust``: what is said of a check at the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropiris.cli.sentences import say
from dropiris.trust import StructureTrust, TrustReport, judge, why_not

if TYPE_CHECKING:
    from dropiris.models.bundle import Bundle


def can_be_checked(bundle: Bundle) -> bool:
    """Whether results of a model can be checked; says why not."""
    why = why_not(bundle.card)
    if why:
        say(f"Note: no trust. {why}")
    return not why


def judged(report: TrustReport, bundle: Bundle) -> dict[str, StructureTrust]:
    """A report compared with the model's calibration; says what could not be checked."""
    if report.why:
        say(f"Note: {report.why}")
    return judge(report, bundle.card)
