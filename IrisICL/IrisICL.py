"""IrisICL: segmentation by example. Any structure that is labelled in a reference is found in another scan."""

from dataclasses import replace

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

import IrisICLLib  # noqa: F401  (first: it makes dropiris importable)
from dropiris.mrml.terminologies import load_terminology
from dropiris.mrml.volumes import own_affine
from dropiris.panels.choices import count
from dropiris.panels.module_panel import ModulePanel
from dropiris.panels.run_estimate import estimate, weights_bytes
from dropiris.panels.sample_data import register_samples
from IrisICLLib.logic import NO_REFERENCE, IrisICLLogic
from IrisICLLib.reference_section import ReferenceSection
from IrisICLLib.scan_section import ScanSection
from IrisICLLib.self_test import IrisICLTest  # noqa: F401  (Slicer looks for it here)


class IrisICL(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("IrisICL")
        parent.categories = [_("Segmentation")]
        parent.dependencies = []
        parent.contributors = ["SegmentAnyScan contributors"]
        parent.helpText = _(
            "Choose a scan that is already segmented (the reference) and a scan to segment, click Segment, check the "
            "result. Nothing is trained. Research software, not a medical device."
        )
        parent.acknowledgementText = _("The method is Iris; the model's own citation stands in its model card.")
        slicer.app.connect("startupCompleted()", register_samples)
        slicer.app.connect("startupCompleted()", load_terminology)


class IrisICLWidget(ModulePanel):
    """Show it labelled references and scans, click Segment."""

    method = "iris"

    def makeLogic(self):
        return IrisICLLogic()

    def helpSteps(self):
        return [
            _(
                "Choose a scan that is labelled already and its segmentation, click <b>Add reference</b>, and check "
                "the structures to look for."
            ),
            _("Choose the scan to search (or add several to the list), and click <b>Segment</b>."),
            _(
                "Check every slice, first what <b>Trust</b> asks to be checked; correct what is wrong in Segment "
                "Editor and use the corrected result as a further reference; then measure and export under "
                "<b>Results</b>."
            ),
        ]

    def trustCost(self):
        return _(
            "Takes the result as the example and segments the reference back with it, where the truth is known, and "
            "the scan again; tells for each structure how well that works. Takes a few windows more; uncheck it to "
            "save the time."
        )

    def trustReason(self):
        references, tasks = self.references.usable()
        alone = not references and (tasks or self.references.from_memory())
        return NO_REFERENCE if alone else ""

    def connectWidgets(self):
        self.ui.resultActions.layout().addWidget(self.ui.correctedButton)
        self.references = ReferenceSection(self.ui, self.tell, self._on_selected, self._save_task)
        self.scans = ScanSection(self.ui, self.tell, self._on_scan)
        self.ui.correctedButton.connect("clicked(bool)", self._on_corrected)

    def inputs(self):
        # Not the table of scans: it tells how far each one is.
        return [self.ui.referencesWidget, self.ui.inputSelector, self.ui.addScanFilesButton]

    def missing(self):
        problem = self.references.missing()
        if problem:
            return problem
        scans = self.scans.waiting()
        if not scans:
            return _("Choose a scan")
        if len(scans) > 1 and self.target() is not None:
            return _("Several scans need new segmentations: change Result")
        return ""

    def what(self):
        structures, scans = count(len(self.references.names()), _("structure")), self.scans.waiting()
        if len(scans) > 1:
            return _("Segment {structures} in {scans}").format(
                structures=structures, scans=count(len(scans), _("scan"))
            )
        text = _("Segment {structures} again") if self.scans.again() else _("Segment {structures}")
        if self.references.from_memory():
            text = _("Segment {structures} without a reference")
        return text.format(structures=structures)

    def refresh(self):
        self.scans.bind(self.parameters)
        self.references.bind(self.parameters)
        entry = self.entry()
        self.references.show(entry.card if entry is not None else None, self.scans.waiting())
        self.scans.show()

    def control(self, state):
        self.references.control(state.inputs_enabled)
        self.scans.control(state.inputs_enabled)
        parameters = self.parameters
        there = parameters is not None and None not in (parameters.resultSegmentation, parameters.resultVolume)
        self.ui.correctedButton.enabled = state.inputs_enabled and there

    def estimate(self):
        scans = [scan for scan in self.scans.waiting() if scan.GetImageData() is not None]
        entry = self.entry()
        if not scans or entry is None or entry.folder is None or not self.references.names():
            return None
        largest = max(scans, key=lambda scan: scan.GetImageData().GetNumberOfPoints())
        spacings = self.logic.workingSpacings(*self.references.usable(), entry)
        found = estimate(
            largest.GetImageData().GetDimensions(),
            largest.GetSpacing(),
            entry.card,
            self.device.device(self.parameters.device.value),
            self.device.measured,
            affine=own_affine(largest),
            weights_bytes=weights_bytes(entry.folder, entry.features),
            working_spacings=spacings,
            structures=len(self.references.names()),
            scans=len(scans),
            warm=self.device.warm(entry.card),
        )
        if spacings:
            return found
        # The windows were counted for the finest voxels there could be: no figure to show.
        return replace(found, sentence=_("time not known before the first run with these references"))

    # The run

    def start(self):
        p = self.parameters
        scans = self.scans.waiting()
        for scan in scans:
            self.scans.queue.add(scan)
        references, tasks = self.references.usable()
        strategy = p.strategy.resolved(len(references) + len(tasks)).value
        return self.logic.startQueue(
            scans,
            references,
            strategy,
            self.model(),
            device=p.device.value,
            tasks=tasks,
            outputSegmentation=self.target(),
            mode=self.mode(),
            report=self.scans.queue,
            trust=p.checkTrust,
        )

    def done(self, run):
        outcomes = run.result()
        last = next(outcome for outcome in reversed(outcomes) if outcome.result is not None)
        self.showResult(last.result, last.volume)
        failed = [outcome.volume.GetName() for outcome in outcomes if outcome.result is None]
        if failed:
            return _("{done} of {all} scans were segmented; the list says why {failed} failed.").format(
                done=len(outcomes) - len(failed), all=len(outcomes), failed=", ".join(failed)
            )
        found = last.result.GetSegmentation().GetNumberOfSegments()
        more = _(" The other results can be chosen in the list.") if len(outcomes) > 1 else ""
        return _("{name} has {found}.").format(name=last.result.GetName(), found=count(found, _("segment"))) + more

    def _save_task(self, path):
        references, tasks = self.references.usable()
        p = self.parameters

        def start():
            return self.logic.startSaveTask(path, references, self.model(), device=p.device.value, tasks=tasks)

        def done(run):
            return _("Saved {file}: use it with Saved task, without these references.").format(file=run.result())

        self.bar.begin(start, done)

    def useSample(self, sample):
        for volume, segmentation in sample.references:
            self.references.add(volume, segmentation)
        super().useSample(sample)

    # What the user does

    def _on_scan(self, entry):
        if entry is not None and entry.result is not None:
            self.showResult(entry.result, entry.volume)
        self.bar.update()

    def _on_selected(self):
        if self.bar is not None:
            self.bar.update()

    def _on_corrected(self, checked=False):
        self.references.add(self.parameters.resultVolume, self.parameters.resultSegmentation)
