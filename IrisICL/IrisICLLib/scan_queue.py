"""The scans to segment, one row each: ready, running, done in x s, or failed with the reason."""

from dataclasses import dataclass
from enum import Enum

from slicer.i18n import tr as _

from dropiris.mrml.trust import read_trust
from dropiris.trust import CHECK
from IrisICLLib.scene_list import SceneList


class ScanState(Enum):
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class ScanEntry:
    """A row of the queue; ``result`` is the segmentation node of a scan that is done."""

    key: str
    volume: object
    state: ScanState
    seconds: float = 0.0
    reason: str = ""
    result: object = None

    def status(self):
        """As shown in the table."""
        if self.state is ScanState.RUNNING:
            return _("running")
        if self.state is ScanState.DONE:
            doubtful = sum(about.trust.flag == CHECK for about in read_trust(self.result).values())
            words = _("done in {seconds:.1f} s") if not doubtful else _("done in {seconds:.1f} s, ◐ check {doubtful}")
            return words.format(seconds=self.seconds, doubtful=doubtful)
        if self.state is ScanState.FAILED:
            return _("failed: {reason}").format(reason=self.reason)
        return _("ready")


class ScanQueue:
    """The queue, kept in the parameter node; told by a run how far it is (see IrisICLLogic.startQueue).

    Parameters
    ----------
    parameters : IrisICLParameters
        Its ``scans`` holds the rows.
    """

    def __init__(self, parameters):
        self._list = SceneList(parameters, "scans")
        # Not saved with the scene: nothing runs in a scene that was just loaded.
        self._running = ""

    @property
    def node(self):
        """The parameter node it is kept in."""
        return self._list.node

    def entries(self):
        """The rows; one whose scan was deleted is gone, one whose result was removed is ready again."""
        found = []
        for row in self._list.rows():
            key = row["key"]
            volume, result = self._list.get_node(key, "volume"), self._list.get_node(key, "result")
            state = ScanState.RUNNING if key == self._running else _state(row.get("state"))
            if state is ScanState.DONE and result is None:
                state = ScanState.READY
            reason = str(row.get("reason", ""))
            found.append(ScanEntry(key, volume, state, float(row.get("seconds", 0.0)), reason, result))
        return found

    def add(self, volume):
        """Add a scan, once; returns its key."""
        for entry in self.entries():
            if entry.volume is volume:
                return entry.key
        return self._list.add({}, volume=volume)

    def remove(self, key):
        self._list.remove(key)

    def again(self, key):
        """Let a scan be segmented once more; its result stays in the scene."""
        self._list.change(key, {}, result=None)

    def waiting(self, chosen=None):
        """Scans a run would take: all that are not done and the chosen one; when all are done, the chosen one again.

        With nothing chosen and all done, all of them again.
        """
        entries = self.entries()
        scans = [entry.volume for entry in entries if entry.state is not ScanState.DONE]
        if chosen is not None and chosen not in [entry.volume for entry in entries]:
            scans.append(chosen)
        if scans:
            return scans
        return [chosen] if chosen is not None else [entry.volume for entry in entries]

    # Told by a run

    def started(self, volume):
        self._running = self.add(volume)
        self._list.node.Modified()

    def done(self, volume, seconds, result):
        self._ended(volume, {"state": ScanState.DONE.value, "seconds": round(seconds, 2)}, result)

    def failed(self, volume, reason):
        self._ended(volume, {"state": ScanState.FAILED.value, "reason": reason}, None)

    def stopped(self):
        """No scan runs any more; the one that did is ready again."""
        self._running = ""
        self._list.node.Modified()

    def _ended(self, volume, row, result):
        self._running = ""
        for entry in self.entries():
            if entry.volume is volume:
                self._list.change(entry.key, row, result=result)


def _state(word):
    return ScanState(word) if word in (ScanState.DONE.value, ScanState.FAILED.value) else ScanState.READY
