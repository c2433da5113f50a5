"""The frame of both modules' panels: .ui file and shared sections, models, run, result. Uses Qt."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from dropiris.errors import DropIrisError
from dropiris.mrml.volumes import own_affine
from dropiris.panels import model_facts
from dropiris.panels.choices import OutputMode
from dropiris.panels.client import missing_dependency
from dropiris.panels.device_line import DeviceLine
from dropiris.panels.help_section import help_text
from dropiris.panels.installation_button import InstallationButton
from dropiris.panels.log_view import LogView
from dropiris.panels.measured_runs import RunWatch
from dropiris.panels.model_cards import ModelCards
from dropiris.panels.module_part import ModulePart
from dropiris.panels.results_section import ResultsSection
from dropiris.panels.run import Run
from dropiris.panels.run_bar import RunBar
from dropiris.panels.run_estimate import Estimate, estimate, weights_bytes
from dropiris.panels.sample_data import LoadedSample, load_sample, sample_for
from dropiris.panels.scene_panel import ScenePanel
from dropiris.panels.section import fill_places, order_tabs
from dropiris.panels.stage import Controls
from dropiris.panels.trust_words import TrustBox, to_check


class ModulePanel(ModulePart, ScenePanel):
    """Base of a module's widget, which gives what :class:`~dropiris.panels.module_part.ModulePart` asks for.

    The module's .ui file leaves empty widgets ``modelsPlace``, ``runPlace``, ``resultsPlace`` and ``closingPlace``,
    which the shared sections fill; :attr:`ui` names the widgets of all of them.

    Attributes
    ----------
    logic
        Of the module.
    bar : RunBar
    models : ModelCards
    results : ResultsSection
    log : LogView
    """

    def __init__(self, parent: Any = None) -> None:
        ScenePanel.__init__(self, parent)
        self.bar: Any = None
        self._watch = RunWatch()
        self._estimate: Estimate | None = None

    # Slicer's calls

    def setup(self) -> None:
        ScenePanel.setup(self)
        panel = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(panel)
        self.sections = fill_places(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        self.logic = self.makeLogic()
        for part in (panel, *self.sections):
            part.setMRMLScene(slicer.mrmlScene)
        self.log = LogView(self.ui, getattr(self.logic.client, "log", None))
        self.device = DeviceLine(self.ui, self.logic.client, self.update)
        self.bar = RunBar(
            self.ui, self._start, self._done, self._missing, self._what, self._control, self._saw, self.log.add
        )
        self.models = ModelCards(
            self.ui, lambda: self.logic.models, lambda: self.logic.client, self.method, self._on_model, self.bar.begin
        )
        self.results = ResultsSection(self.ui, self.logic.history, self.tell, self.log.add, self.update)
        self.trust = TrustBox(self.ui, self.trustCost())
        self.installation = InstallationButton(self.ui, self.logic.usesWorker, self._on_installed)
        self.ui.helpLabel.text = help_text(self.helpSteps())
        self.ui.sampleButton.connect("clicked(bool)", self._on_sample)
        self.connectWidgets()
        self.tabOrder = order_tabs(panel)
        self.observeScene()

    def cleanup(self) -> None:
        """The panel goes away, when Slicer ends or the module is reloaded."""
        if self.bar is None:
            return
        self.bar.close()
        self.device.close()
        self.log.close()
        self.installation.close()
        self.bind(None)
        self.results.close()
        self.removeObservers()

    def look(self) -> None:
        self.models.reload()

    def sceneCloses(self) -> None:
        self.bar.cancel()
        self.results.show(None, None)
        self.logic.history.clear()

    def sceneIsAnother(self) -> None:
        self.bar.forget()

    def update(self, *_unused: Any) -> None:
        """Bring the panel in line with the parameters."""
        if self.parameters is None or self.bar is None:
            return
        wish = self.parameters.device.value
        self.models.show(self.parameters.model)
        self.refresh()
        self.results.show(self.parameters.resultSegmentation, self.parameters.resultVolume)
        self.installation.show(self._dependency())
        if not self._dependency():
            self.device.ask(wish)
        self._estimate = self._try_estimate()
        self.device.show(wish, self._estimate)
        self.bar.update()

    def _try_estimate(self) -> Estimate | None:
        try:
            return self.estimate()
        except DropIrisError:
            return None  # the run itself says what is wrong with the scan

    # Models and output

    def entry(self) -> Any:
        """The chosen model of the list, None when there is none."""
        return self.models.entry(self.parameters.model)

    def model(self) -> str:
        """Name of the chosen model, "" when there is none."""
        entry = self.entry()
        return entry.name if entry is not None else ""

    def mode(self) -> str:
        """How results are written to :meth:`target`."""
        return "replace" if self.parameters.outputMode is OutputMode.REPLACE else "add"

    def target(self) -> Any:
        """The segmentation that gets the result, None for a new one."""
        return None if self.parameters.outputMode is OutputMode.NEW else self.parameters.outputSegmentation

    def _on_model(self, name: str) -> None:
        if self.parameters is not None:
            self.parameters.model = name
            self.update()

    # First run

    def useSample(self, sample: LoadedSample) -> None:
        """Choose what was loaded to try, and the model it was made for if it is here."""
        entry = self.models.entry(sample.model)
        if entry is not None and entry.name == sample.model:
            self.parameters.model = sample.model
        self.parameters.inputVolume = sample.scans[-1]

    def _on_sample(self, *_unused: Any) -> None:
        with slicer.util.tryWithErrorDisplay(_("The sample could not be loaded."), waitCursor=True):
            self.useSample(load_sample(sample_for(self.method).key))
            self.tell(_("A phantom was loaded: nobody's anatomy, made to try the module with."))

    def _on_installed(self) -> None:
        self.device.probe.forget()
        self.update()

    def estimate(self) -> Estimate | None:
        """How long a run will take and whether memory is enough; None while there is nothing to say."""
        volume, entry = self.parameters.inputVolume, self.entry()
        if volume is None or volume.GetImageData() is None or entry is None or entry.folder is None:
            return None
        shape, device = volume.GetImageData().GetDimensions(), self.device.device(self.parameters.device.value)
        measured, warm = self.device.measured, self.device.warm(entry.card)
        affine, weights = own_affine(volume), weights_bytes(entry.folder, entry.features)
        return estimate(
            shape, volume.GetSpacing(), entry.card, device, measured, affine=affine, weights_bytes=weights, warm=warm
        )

    # The run

    def _dependency(self) -> str:
        return missing_dependency() if self.logic.usesWorker else ""

    def _missing(self) -> str:
        if self.parameters is None:
            return _("Open the module first")
        # A missing package stands first: nothing the user chooses can help before.
        return self._dependency() or self.missing() or self._missing_model() or self._missing_target()

    def _missing_model(self) -> str:
        entry = self.entry()
        return model_facts.why_not(entry) if entry is not None else _("There is no model to use yet")

    def _missing_target(self) -> str:
        if self.parameters.outputMode is not OutputMode.NEW and self.parameters.outputSegmentation is None:
            return _("Choose the segmentation that gets the result")
        if self._estimate is not None and self._estimate.refusal:
            return self._estimate.refusal
        return self.device.problem(self.parameters.device.value)

    def _what(self) -> str:
        return self.what() if self.parameters is not None else _("Segment")

    def _start(self) -> Run:
        # Remembered: the panel may show something else when the run is over.
        self._watch, self._running_model = RunWatch(), self.entry()
        self.parameters.model = self.model()  # the scene remembers what was used, not that it was the first one then
        self._scan, self._wish = self.parameters.inputVolume, self.parameters.device.value
        return self.start()

    def _saw(self, progress: Any) -> None:
        self._watch.see(progress)
        self.log.update()

    def _done(self, run: Run) -> str:
        if self._running_model is not None:
            self.device.learn(self._running_model.card, self._wish, self._watch)
        seconds = _("Done in {seconds:.1f} s.").format(seconds=run.seconds)
        said = [seconds, self.done(run), self.logic.remark, to_check(self.results.table.segmentation)]
        return " ".join(filter(None, [*said, _("Check every result before use.")]))

    def _control(self, state: Controls) -> None:
        """Every control that is not the run bar's own."""
        for widget in (*self.inputs(), self.ui.outputWidget):
            widget.enabled = state.inputs_enabled
        new = self.parameters is None or self.parameters.outputMode is OutputMode.NEW
        self.ui.outputSelector.enabled = not new
        self.trust.show(self.trustReason() if self.parameters is not None else "", state.inputs_enabled)
        self.results.control(state)
        self.control(state)

    # The result

    def done(self, run: Run) -> str:
        """Show the result of a run that succeeded; returns what is said of it."""
        node = run.result()
        self.showResult(node, self._scan)
        found = node.GetSegmentation().GetNumberOfSegments()
        return _("{name} has {found} segments.").format(name=node.GetName(), found=found)

    def showResult(self, segmentation: Any, volume: Any) -> None:
        """Show a result in the table and remember it with the scene."""
        self.results.show(segmentation, volume)
        parameters = self.parameters if self.parameters is not None else self.logic.getParameterNode()
        with slicer.util.NodeModify(parameters.parameterNode):
            parameters.resultSegmentation, parameters.resultVolume = segmentation, volume

    def tell(self, sentence: str) -> None:
        """Say something in the status line and keep it in the log."""
        self.bar.say(sentence)
        self.log.add(sentence)
