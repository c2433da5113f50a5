"""What "Reload and Test" runs in Slicer, and ``ctest`` in a build of the extension."""

import tempfile
from pathlib import Path

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from dropiris.panels.threshold_client import ThresholdClient, ThresholdModels
from dropiris.progress import CancelToken
from IrisICLLib.logic import IrisICLLogic


class IrisICLTest(ScriptedLoadableModuleTest):
    """Runs in Slicer and over slicer-core alike; intensity ranges take the place of the network."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        array = np.zeros((6, 7, 8), np.int16)
        array[1:5, 2:6, 2:5] = 150
        array[2:4, 3:5, 3:4] = 700
        self.example = slicer.util.addVolumeFromArray(array, np.diag([-1.0, -2.0, 3.0, 1.0]), "Example")
        self.labels = self.segmentation("Labels", {"soft tissue": array == 150, "bone": array == 700})
        self.array = np.ascontiguousarray(array[::-1])
        self.scan = slicer.util.addVolumeFromArray(self.array, np.diag([1.5, 2.0, 3.0, 1.0]), "Scan")
        self.logic = IrisICLLogic(ThresholdClient(()), ThresholdModels("ranges", "iris"))

    def tearDown(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        for test in (
            self.test_segments_are_the_references,
            self.test_two_references,
            self.test_several_scans,
            self.test_saved_task,
            self.test_cancel,
            self.test_refusals,
        ):
            self.delayDisplay(test.__name__)
            self.setUp()
            test()
            self.tearDown()

    def test_segments_are_the_references(self):
        node = self.logic.process(self.scan, [(self.example, self.labels, None)])
        self.assertTrue(np.array_equal(self.voxels(node, "soft tissue"), self.array == 150))
        self.assertTrue(np.array_equal(self.voxels(node, "bone"), self.array == 700))
        segmentation = node.GetSegmentation()
        for n in range(2):
            expected = self.labels.GetSegmentation().GetNthSegment(n)
            self.assertEqual(expected.GetName(), segmentation.GetNthSegment(n).GetName())
            self.assertEqual(expected.GetColor(), segmentation.GetNthSegment(n).GetColor())

    def test_two_references(self):
        bone = [self.labels.GetSegmentation().GetSegmentIdBySegmentName("bone")]
        references = [(self.example, self.labels, None), (self.example, self.labels, bone)]
        node = self.logic.process(self.scan, references, self.labels, "ensemble", structures=["bone"])
        self.assertIs(node, self.labels)
        names = [node.GetSegmentation().GetNthSegment(n).GetName() for n in range(3)]
        self.assertEqual(["soft tissue", "bone", "bone_1"], names)

    def test_several_scans(self):
        other = slicer.util.addVolumeFromArray(self.array * 2, np.eye(4), "Other scan")
        outcomes = self.logic.startQueue([self.scan, other], [(self.example, self.labels, None)]).wait()
        self.assertEqual(["Scan segmentation", "Other scan segmentation"], [o.result.GetName() for o in outcomes])

    def test_saved_task(self):
        with tempfile.TemporaryDirectory() as folder:
            task = Path(folder) / "task.safetensors"
            self.logic.startSaveTask(task, [(self.example, self.labels, None)]).wait()
            slicer.mrmlScene.RemoveNode(self.example)
            slicer.mrmlScene.RemoveNode(self.labels)
            node = self.logic.process(self.scan, tasks=[task])
        self.assertTrue(np.array_equal(self.voxels(node, "bone"), self.array == 700))

    def test_cancel(self):
        before = slicer.mrmlScene.GetNumberOfNodes()
        cancel = CancelToken()
        with self.assertRaisesRegex(Exception, "Cancelled"):
            reference = (self.example, self.labels, None)
            self.logic.process(self.scan, [reference], progress=lambda step: cancel.cancel(), cancel=cancel)
        self.assertEqual(before, slicer.mrmlScene.GetNumberOfNodes())

    def test_refusals(self):
        with self.assertRaisesRegex(Exception, "No reference is chosen"):
            self.logic.process(self.scan, [])
        with self.assertRaisesRegex(Exception, "One-shot uses one reference, 2 are given"):
            self.logic.process(self.scan, [(self.example, self.labels, None)] * 2)

    def segmentation(self, name, masks):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(self.example)
        for n, (segment, mask) in enumerate(masks.items()):
            segment_id = node.GetSegmentation().AddEmptySegment("", segment, (0.2, 0.3 * n, 0.9))
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment_id, self.example)
        return node

    def voxels(self, node, name):
        segment = node.GetSegmentation().GetSegmentIdBySegmentName(name)
        return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, self.scan) > 0
