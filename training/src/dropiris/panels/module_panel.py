"""The frame of both modules' panels: the .ui file, the parameter node, the model list, the run's controls. Uses Qt."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from dropiris.errors import DropIrisError
from dropiris.panels.choices import models_in_words, shortened, usable_models
from dropiris.panels.client import missing_dependency
from dropiris.panels.run import Run
from dropiris.panels.run_bar import RunBar


class ModulePanel(ScriptedLoadableModuleWidget, VTKObservationMixin):  # type: ignore[misc]
    """Base of a module's widget, which fills in what differs.

    A subclass sets ``method`` and gives :meth:`makeLogic`, :meth:`inputs`, :meth:`missing`, :meth:`what` and
    :meth:`start`; its .ui file has the widgets named here.
    """

    method = ""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.parameters: Any = None
        self.bar: RunBar | None = None
        self._connection: Any = None
        self._entries: list[Any] = []

    # What a module gives

    def makeLogic(self) -> Any:
        raise NotImplementedError

    def inputs(self) -> list[Any]:
        """Widgets that rest while a run is under way."""
        raise NotImplementedError

    def missing(self) -> str:
        """What the user still has to choose, or ""."""
        raise NotImplementedError

    def what(self) -> str:
        """What the button will do."""
        raise NotImplementedError

    def start(self) -> Run:
        raise NotImplementedError

    def connectWidgets(self) -> None:
        """Connect what only this module has."""

    def refresh(self) -> None:
        """Show the parameters where the .ui file does not do so by itself."""

    # Slicer's calls

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        self.logic = self.makeLogic()
        panel.setMRMLScene(slicer.mrmlScene)
        self.bar = RunBar(self.ui, self.inputs(), self.start, self._missing, self._what, self._done)
        self.ui.modelComboBox.connect("currentIndexChanged(int)", self._on_model)
        self.connectWidgets()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._on_close)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self._on_closed)
        self.enter()

    def cleanup(self) -> None:
        if self.bar is not None:
            self.bar.close()
        self._bind(None)
        self.removeObservers()

    def enter(self) -> None:
        """The panel is shown."""
        self._fill_models()
        if self.parameters is None:
            self._bind(self.logic.getParameterNode())

    def exit(self) -> None:
        """The panel is hidden; a run goes on."""
        self._bind(None)

    def _on_close(self, caller: Any = None, event: Any = None) -> None:
        if self.bar is not None:
            self.bar.cancel()
        self._bind(None)

    def _on_closed(self, caller: Any = None, event: Any = None) -> None:
        self.enter()

    # Parameter node

    def _bind(self, parameters: Any) -> None:
        if self.parameters is not None:
            self.parameters.disconnectGui(self._connection)
            self.removeObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.update)
        self.parameters = parameters
        if parameters is not None:
            self._connection = parameters.connectGui(self.ui)
            self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.update)
            self.update()

    def update(self, *_: Any) -> None:
        """Bring the panel in line with the parameters."""
        if self.parameters is None or self.bar is None:
            return
        names = [entry.name for entry in self._entries]
        if names:
            self.ui.modelComboBox.currentIndex = names.index(self.model()) if self.model() in names else 0
        entry = self._entry()
        show_note(self.ui.modelLabel, _describe(entry) if entry is not None else self._model_problem)
        self.ui.replaceCheckBox.enabled = self.parameters.outputSegmentation is not None and self.bar.run is None
        self.refresh()
        self.bar.update()

    # Models

    def model(self) -> str:
        """Name of the chosen model, "" when there is none."""
        names = [entry.name for entry in self._entries]
        chosen = self.parameters.model if self.parameters is not None else ""
        return chosen if chosen in names else (names[0] if names else "")

    def _entry(self) -> Any:
        return next((entry for entry in self._entries if entry.name == self.model()), None)

    def _fill_models(self) -> None:
        try:
            self._entries = usable_models(self.logic.models, self.method)
            self._model_problem = models_in_words(self.logic.models, self.method)
        except DropIrisError as problem:
            self._entries, self._model_problem = [], str(problem)
        combo = self.ui.modelComboBox
        blocked = combo.blockSignals(True)
        combo.clear()
        for entry in self._entries:
            combo.addItem(entry.card.title or entry.name)
        combo.blockSignals(blocked)
        self.update()

    def _on_model(self, index: int) -> None:
        if self.parameters is not None and 0 <= index < len(self._entries):
            self.parameters.model = self._entries[index].name

    # The run

    def mode(self) -> str:
        """How results are written to a chosen segmentation."""
        return "replace" if self.parameters.replaceSegments else "add"

    def _missing(self) -> str:
        if self.parameters is None:
            return "Open the module first"
        # A missing package stands first: nothing the user chooses can help before.
        dependency = missing_dependency() if self.logic.usesWorker else ""
        return dependency or self.missing() or ("" if self._entries else "There is no model to use yet")

    def _what(self) -> str:
        return self.what() if self.parameters is not None else "Segment"

    def _done(self, run: Run) -> str:
        node = run.result()
        return f"Done in {run.seconds:.1f} s: see {node.GetName()}. Check every result before use."


def show_note(label: Any, text: str) -> None:
    """A line under a choice; it takes no room when there is nothing to say."""
    label.text = text
    label.visible = bool(text)


def _describe(entry: Any) -> str:
    names = [structure.name for structure in entry.card.structures]
    finds = f"Finds {shortened(names)}. " if names else ""
    return f"{finds}{entry.card.description}".strip()
