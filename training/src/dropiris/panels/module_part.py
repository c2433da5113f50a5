"""What the frame of a panel asks of a module: the methods its widget gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dropiris.panels.run import Run
from dropiris.panels.stage import Controls


class ModulePart:
    """The part of a panel that only one module has; :class:`~dropiris.panels.module_panel.ModulePanel` calls it.

    Attributes
    ----------
    method : {"dropgen", "iris"}
        Which models are listed.
    """

    method = ""

    def makeLogic(self) -> Any:
        raise NotImplementedError

    def inputs(self) -> list[Any]:
        """The module's own widgets that rest while a run is under way."""
        raise NotImplementedError

    def missing(self) -> str:
        """What the user still has to choose, or ""."""
        raise NotImplementedError

    def what(self) -> str:
        """What the button will do."""
        raise NotImplementedError

    def start(self) -> Run:
        """Start the run; its result is the segmentation node, unless :meth:`done` knows better."""
        raise NotImplementedError

    def helpSteps(self) -> Sequence[str]:
        """The three steps of the Help section."""
        return ()

    def trustCost(self) -> str:
        """What a check of the result is and takes, for a tooltip."""
        return ""

    def trustReason(self) -> str:
        """Why results of what is chosen cannot be checked, or ""."""
        return ""

    def connectWidgets(self) -> None:
        """Connect what only this module has."""

    def control(self, state: Controls) -> None:
        """Bring the module's own buttons in line with the stage, besides :meth:`inputs`."""

    def refresh(self) -> None:
        """Show the parameters where the .ui file does not do so by itself."""
