"""DropGenSeg: automatic segmentation that holds up on scanners, sequences and modalities the model never saw."""

import numpy as np
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

import DropGenSegLib  # noqa: F401  (first: it makes dropiris importable)
from DropGenSegLib.logic import DropGenSegLogic
from dropiris.mrml.terminologies import load_terminology
from dropiris.panels.choices import count
from dropiris.panels.module_panel import ModulePanel
from dropiris.panels.sample_data import register_samples
from dropiris.panels.structure_list import StructureList
from dropiris.panels.threshold_client import ThresholdClient, ThresholdModels
from dropiris.progress import CancelToken
from dropiris.trust import why_not
from dropiris.volume import Structure


class DropGenSeg(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("DropGenSeg")
        parent.categories = [_("Segmentation")]
        parent.dependencies = []
        parent.contributors = ["SegmentAnyScan contributors"]
        parent.helpText = _(
            "Choose a scan and a model, click Segment, check the result. The model was trained to hold up on "
            "scanners, sequences and modalities it never saw. Research software, not a medical device."
        )
        parent.acknowledgementText = _("The method is DropGen; the model's own citation stands in its model card.")
        slicer.app.connect("startupCompleted()", register_samples)
        slicer.app.connect("startupCompleted()", load_terminology)


class DropGenSegWidget(ModulePanel):
    """Choose a scan and a model, click Segment."""

    method = "dropgen"

    def makeLogic(self):
        return DropGenSegLogic()

    def helpSteps(self):
        return [
            _("Choose the scan, then a model made for what it shows; its card says what it finds and how well."),
            _("Uncheck structures you do not need, and click <b>Segment</b>. Cancel works at any moment."),
            _(
                "Check every slice, first what <b>Trust</b> asks to be checked; correct in Segment Editor, then "
                "measure and export under <b>Results</b>."
            ),
        ]

    def trustCost(self):
        return _(
            "Compares the result with what the model finds in parts of its input (the image or half of the features "
            "left out), and tells for each structure how far they agree. Takes up to as long again; uncheck it to save "
            "the time."
        )

    def trustReason(self):
        entry = self.entry()
        return why_not(entry.card) if entry is not None and entry.card is not None else ""

    def connectWidgets(self):
        self.structures = StructureList(self.ui, self._on_structures)
        self.ui.inputLabel.connect("linkActivated(QString)", self._on_sample)

    def inputs(self):
        return [self.ui.inputsWidget]

    def missing(self):
        if self.parameters.inputVolume is None:
            return _("Choose a scan")
        entry = self.entry()
        if entry is not None and entry.card is not None and not self.structures.chosen():
            return _("Choose at least one structure")
        return ""

    def what(self):
        return _("Segment {structures}").format(structures=count(len(self.structures.chosen()), _("structure")))

    def refresh(self):
        volume = self.parameters.inputVolume
        image = volume.GetImageData() if volume is not None else None
        if image is not None:
            self.ui.inputLabel.text = _in_words(image.GetDimensions(), volume.GetSpacing())
        else:
            self.ui.inputLabel.text = '<a href="sample">' + _("Load something to try") + "</a>"
        entry = self.entry()
        structures = entry.card.structures if entry is not None and entry.card is not None else ()
        self.structures.show(structures, list(self.parameters.leftOut))

    def start(self):
        p, chosen = self.parameters, self.structures.chosen()
        wanted = chosen if len(chosen) < len(self.entry().card.structures) else None
        return self.logic.start(
            p.inputVolume, self.target(), self.model(), wanted, p.device.value, self.mode(), p.checkTrust
        )

    def _on_structures(self, left_out):
        if self.parameters is not None:
            self.parameters.leftOut = left_out


def _in_words(dimensions, spacing):
    voxels, mm = "×".join(map(str, dimensions)), "×".join(f"{s:.2g}" for s in spacing)
    return _("{voxels} voxels, {mm} mm").format(voxels=voxels, mm=mm)


class DropGenSegTest(ScriptedLoadableModuleTest):
    """Runs in Slicer and over slicer-core alike; intensity steps take the place of the network."""

    STRUCTURES = (Structure(1, "soft tissue", (0.8, 0.4, 0.3)), Structure(3, "bone", (0.9, 0.9, 0.7)))

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.array = np.zeros((6, 7, 8), np.int16)
        self.array[1:5, 2:6, 2:5] = 150
        self.array[2:4, 3:5, 3:4] = 700
        self.scan = slicer.util.addVolumeFromArray(self.array, np.diag([-1.0, -2.0, 3.0, 1.0]), "Scan")
        self.logic = DropGenSegLogic(
            ThresholdClient(self.STRUCTURES), ThresholdModels("steps", "dropgen", self.STRUCTURES)
        )

    def tearDown(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        for test in (self.test_segments_lie_on_the_scan, self.test_existing_segments_stay, self.test_cancel):
            self.delayDisplay(test.__name__)
            self.setUp()
            test()
            self.tearDown()

    def test_segments_lie_on_the_scan(self):
        stages = []
        node = self.logic.process(self.scan, model="steps", progress=stages.append)
        self.assertEqual([structure.name for structure in self.STRUCTURES], self.names(node))
        self.assertTrue(np.array_equal(self.voxels(node, "soft tissue"), self.array == 150))
        self.assertTrue(np.array_equal(self.voxels(node, "bone"), self.array == 700))
        self.assertEqual(stages[-1].fraction, 1.0)

    def test_existing_segments_stay(self):
        node = self.logic.process(self.scan)
        self.logic.process(self.scan, node, structures=["bone"])
        self.assertEqual(["soft tissue", "bone", "bone_1"], self.names(node))
        self.logic.process(self.scan, node, mode="replace")
        self.assertEqual(["soft tissue", "bone", "bone_1"], self.names(node))

    def test_cancel(self):
        before = slicer.mrmlScene.GetNumberOfNodes()
        cancel = CancelToken()
        cancel.cancel()
        with self.assertRaisesRegex(Exception, "Cancelled"):
            self.logic.process(self.scan, cancel=cancel)
        self.assertEqual(before, slicer.mrmlScene.GetNumberOfNodes())

    def names(self, node):
        segmentation = node.GetSegmentation()
        return [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]

    def voxels(self, node, name):
        segment = node.GetSegmentation().GetSegmentIdBySegmentName(name)
        return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, self.scan) > 0
