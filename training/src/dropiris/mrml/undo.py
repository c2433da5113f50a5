"""Taking a result back in one step: the new node goes, or every segment it replaced returns as it was.

Slicer's own scene undo is off unless an application turns it on, and it copies whole nodes; here only references to
what a result displaced are kept, so a result that can be undone costs no further copy of the voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dropiris.errors import InputError
from dropiris.mrml.existing_segmentation import hide
from dropiris.mrml.results import Mode, PreparedResult, write_segments
from dropiris.mrml.segmentation_state import SegmentationState, Written, is_changed, restore
from dropiris.volume import LabelMap

# A replaced segment keeps its old image alive: 78 MB for a whole CT of 512 x 512 x 300.
STEPS_KEPT = 5


class ResultUndo:
    """The way back from one result; made by :meth:`record`, used once.

    Attributes
    ----------
    node : vtkMRMLSegmentationNode
        What the result was written to.
    """

    def __init__(self, node: Any, before: SegmentationState | None) -> None:
        self.node, self._name = node, str(node.GetName() or "the segmentation")
        self._before = before
        self._written = Written.of(node, before)
        self._used = False

    @classmethod
    def record(cls, target: Any, write: Callable[[], Any]) -> ResultUndo:
        """Call ``write``, which returns the segmentation node it wrote, and remember how to take it back.

        ``target`` is the segmentation that is changed, None where ``write`` makes a new one. Whatever ``write``
        raises passes through; there is then nothing to undo.
        """
        before = SegmentationState.of(target) if target is not None else None
        return cls(write(), before)

    def segments(self) -> dict[int, str]:
        """IDs of the segments it wrote, by their place (from 1) among the label map's structures; ask at once."""
        return {left.segment.GetLabelValue(): segmentID for segmentID, left in self._written.results.items()}

    def why_not(self) -> str:
        """Why this result cannot be taken back, one sentence; "" when it can."""
        if self._used:
            return f"The result in {self._name} was taken back already."
        if self.node.GetScene() is None:
            return f"{self._name} was removed from the scene; there is nothing to take back."
        again = self._written.replaced_again(self.node) if self._before is not None else ""
        return f"{again} of {self._name} was replaced since; undo the later result first." if again else ""

    def lost(self) -> str:
        """What the user changed in the result since, which goes with it; "" when nothing is lost.

        Ask before :meth:`undo` when there is something.
        """
        if self.why_not() or not is_changed(self.node, self._written, self._before is None):
            return ""
        return f"Changes made to the result in {self._name} since then are removed with it."

    def undo(self) -> str:
        """Put the scene back as it was before the result; returns what was done, one sentence.

        Segments that the result did not write keep what the user did to them since.

        Raises
        ------
        InputError
            With the reason of :meth:`why_not`.
        """
        if problem := self.why_not():
            raise InputError(problem)
        scene = self.node.GetScene()
        scene.SaveStateForUndo()
        self._used = True
        if self._before is not None:
            restore(self.node, self._before, self._written)
            self._before = None
            return f"The result in {self._name} was taken back; your segments are as they were."
        hide(self.node)
        storage = self.node.GetStorageNode()
        scene.RemoveNode(self.node)
        if storage is not None:
            scene.RemoveNode(storage)
        return f"{self._name} was removed."


class UndoHistory:
    """The last results of a panel, taken back newest first. It lives with the panel, not in the saved scene."""

    def __init__(self) -> None:
        self._steps: list[ResultUndo] = []

    def write(
        self,
        labelMap: LabelMap | PreparedResult,
        segmentationNode: Any,
        volumeNode: Any,
        mode: Mode = "new",
        **options: str,
    ) -> Any:
        """:func:`~dropiris.mrml.results.write_segments`, with a way back; ``options`` as there."""
        return self.remember(
            segmentationNode, lambda: write_segments(labelMap, segmentationNode, volumeNode, mode, **options)
        )

    def remember(self, target: Any, write: Callable[[], Any]) -> Any:
        """Any other way to write a result (see :meth:`ResultUndo.record`); returns the node."""
        step = ResultUndo.record(target, write)
        self._steps = [*self._steps, step][-STEPS_KEPT:]
        return step.node

    def segments(self) -> dict[int, str]:
        """See :meth:`ResultUndo.segments`, of the newest result."""
        step = self._newest()
        return step.segments() if step is not None else {}

    def why_not(self) -> str:
        """Why the button rests: the newest result cannot be taken back, or there is none; "" when it can."""
        step = self._newest()
        return step.why_not() if step is not None else "There is no result to take back."

    def lost(self) -> str:
        """See :meth:`ResultUndo.lost`, of the newest result."""
        step = self._newest()
        return step.lost() if step is not None else ""

    def what(self) -> str:
        """For the button's tooltip: what would be taken back; "" when there is nothing."""
        step = self._newest()
        return f"Take the result in {step.node.GetName()} back" if step is not None and not step.why_not() else ""

    def undo(self) -> str:
        """Take the newest result back; a sentence about it, or :class:`InputError` with the reason."""
        step = self._newest()
        if step is None:
            raise InputError(self.why_not())
        said = step.undo()
        # Whoever watches the scene may have asked why_not() meanwhile, which forgets nodes that are gone.
        self._steps = [other for other in self._steps if other is not step]
        return said

    def clear(self) -> None:
        """Forget every step, on closing the scene; old voxels are freed."""
        self._steps = []

    def _newest(self) -> ResultUndo | None:
        # A result whose node the user deleted stands in nobody's way.
        self._steps = [step for step in self._steps if step.node.GetScene() is not None]
        return self._steps[-1] if self._steps else None
