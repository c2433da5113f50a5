"""Segmentation by example: references and scans from the scene, through the worker, back to the scene."""

from pathlib import Path

from dropiris.errors import InputError
from dropiris.mrml import volume_from_node
from dropiris.mrml.results import check_target
from dropiris.panels.run import Run, Step
from dropiris.panels.segmentation_logic import SegmentationLogic
from dropiris.references.saved_task import ENDING, read_saved_task
from IrisICLLib.checks import check_scans
from IrisICLLib.encoded_tasks import EncodedTasks
from IrisICLLib.encoding import encode, remembered, save_task
from IrisICLLib.parameters import IrisICLParameters
from IrisICLLib.plan import encoding_key, read_plan, working_spacings
from IrisICLLib.queue_run import segment_queue

NO_REFERENCE = "Only a saved task was used, which holds no image to check the result against: add the reference itself."


class IrisICLLogic(SegmentationLogic):
    """Segments what references show, with Iris models; parameters as of the base class."""

    def __init__(self, client=None, models=None):
        SegmentationLogic.__init__(self, client, models)
        self.encoded = EncodedTasks()

    def getParameterNode(self):
        return IrisICLParameters(super().getParameterNode())

    def process(
        self,
        inputVolume,
        references=(),
        outputSegmentation=None,
        strategy="one-shot",
        model="",
        structures=None,
        device="auto",
        mode="add",
        progress=None,
        cancel=None,
        tasks=(),
        trust=False,
    ):
        """Segment in a scan what the references show, and wait for the result.

        Parameters
        ----------
        inputVolume : vtkMRMLScalarVolumeNode
        references : sequence of (volume node, segmentation node, segment IDs or None for all)
            Structures of several references are joined by the names of their segments. May be empty with a model
            that remembers its training classes: ``structures`` then names some of those.
        outputSegmentation : vtkMRMLSegmentationNode, optional
            None makes a new one. An existing one keeps its segments: see ``mode``.
        strategy : {"one-shot", "ensemble", "retrieval", "tune"}
            One reference; the average of several; for each structure those most like this scan; or the average,
            tuned to the references (slower).
        model : str
            Name of a model or path of its folder; "" takes the first Iris model.
        structures : sequence of str, optional
            Names of the references' segments to look for; None takes all.
        device : {"auto", "cuda", "mps", "cpu"}
        mode : {"add", "replace"}
            Add segments beside those in ``outputSegmentation``, or replace those of the same name.
        progress : callable, optional
            Called with :class:`dropiris.progress.Progress` on this thread.
        cancel : dropiris.progress.CancelToken, optional
        tasks : sequence of path
            Saved tasks (see :meth:`startSaveTask`), used beside the references or instead of them.
        trust : bool
            Also segment the references back from the result; a number is kept with each segment (see
            :mod:`dropiris.mrml.trust`). It takes a few windows more; a cancel then keeps the result.

        Returns
        -------
        vtkMRMLSegmentationNode
            Its segments have the references' names, colours and terminology.

        Raises
        ------
        DropIrisError
            One sentence; the scene is then as it was.
        """
        run = self.start(
            inputVolume, references, outputSegmentation, strategy, model, structures, device, mode, tasks, trust
        )
        return run.wait(progress, cancel)

    def start(
        self,
        inputVolume,
        references=(),
        outputSegmentation=None,
        strategy="one-shot",
        model="",
        structures=None,
        device="auto",
        mode="add",
        tasks=(),
        trust=False,
    ):
        """As :meth:`process`, but return a :class:`dropiris.panels.run.Run` to poll; inputs are checked first."""
        volume_from_node(inputVolume)
        plan = self._plan(references, tasks, strategy, model, structures, device)
        check_target(outputSegmentation, inputVolume, mode)

        def work():
            files = yield from encode(self.client, self.encoded, plan, 0.3)
            return (yield from self._segment(plan, files, inputVolume, outputSegmentation, mode, trust, (0.3, 1.0)))

        return Run(work())

    def startQueue(
        self,
        scans,
        references=(),
        strategy="one-shot",
        model="",
        structures=None,
        device="auto",
        tasks=(),
        outputSegmentation=None,
        mode="add",
        report=None,
        trust=False,
    ):
        """Start the segmentation of several scans; references are encoded once, a scan that fails stops no other.

        Parameters
        ----------
        scans : sequence of vtkMRMLScalarVolumeNode
            Each gets a new segmentation; a single one may use ``outputSegmentation`` and ``mode``.
        report : object, optional
            Told ``started(volume)``, ``done(volume, seconds, segmentation)``, ``failed(volume, reason)`` and, at the
            end or on Cancel, ``stopped()``; see :class:`IrisICLLib.scan_queue.ScanQueue`.
        trust : bool
            As of :meth:`process`.

        Returns
        -------
        dropiris.panels.run.Run
            Its result is a list of :class:`IrisICLLib.queue_run.ScanOutcome`. It fails only when no scan could be
            segmented.
        """
        scans = list(scans)
        check_scans(scans, outputSegmentation)
        plan = self._plan(references, tasks, strategy, model, structures, device)
        for scan in scans:
            check_target(outputSegmentation, scan, mode)
        first = 0.1 if plan.references else 0.0

        def segment(scan, files, share, prefix):
            return self._segment(plan, files, scan, outputSegmentation, mode, trust, share, prefix)

        return Run(segment_queue(scans, encode(self.client, self.encoded, plan, first), segment, first, report))

    def startSaveTask(self, path, references=(), model="", structures=None, device="auto", tasks=()):
        """Start to encode references into one task file, to be used later without them.

        Parameters
        ----------
        path : path
            Ends in ``.safetensors``; written in one step.
        references, model, structures, device, tasks
            As of :meth:`process`; saved tasks are averaged with the references, each reference counting alike.

        Returns
        -------
        dropiris.panels.run.Run
            Its result is the path.
        """
        path = Path(path)
        if path.suffix.lower() != ENDING:
            raise InputError(f"A task file ends in {ENDING}, not {path.name!r}; change its name.")
        together = not tasks and structures is None
        plan = self._plan(references, tasks, "ensemble", model, structures, device, afresh=together)
        return Run(save_task(self.client, self.encoded, plan, path, together))

    def workingSpacings(self, references, tasks, bundle):
        """Voxel sizes (mm) at which a model would look at a scan, for an estimate of the time it takes.

        None until these references were encoded once: how large structures are is only known then.
        """
        files = [self.encoded.find(encoding_key(bundle, *reference)) for reference in references]
        if None in files:
            return None
        try:
            return working_spacings([read_saved_task(file) for file in [*files, *tasks]])
        except InputError:
            return None

    def _plan(self, references, tasks, strategy, model, structures, device, afresh=False):
        bundle = self.models.find(model) if model else self.models.default("iris")
        if not references and not tasks:
            tasks = remembered(self.encoded, bundle)
        # Tuning looks at the references themselves, encoded or not.
        known = (lambda key: False) if strategy == "tune" or afresh else self.encoded.find
        return read_plan(references, tasks, bundle, strategy, structures, device, known)

    def _segment(self, plan, files, volumeNode, segmentationNode, mode, trust, share, prefix=""):
        windows = [file for file in map(self.encoded.windows, files[: len(plan.references)]) if file.is_file()]
        self.remark = NO_REFERENCE if trust and not windows else ""
        trust = trust and bool(windows)
        begin, end = share[0], share[0] + (0.8 if trust else 1.0) * (share[1] - share[0])
        volume = volume_from_node(volumeNode)
        again = plan.examples if plan.strategy == "tune" else ()
        job = self.client.submit_segment_iris(
            volume, plan.bundle.folder, files, plan.structures, plan.device, plan.strategy, again, windows
        )
        labels = yield Step(job, begin, end, prefix)
        labels = plan.as_in_references(labels)
        card = plan.bundle.card
        node = yield from self.written(labels, volume, volumeNode, segmentationNode, mode, card, end, prefix)
        if trust:

            def check():
                return self.client.submit_check_iris(volume, labels, plan.bundle.folder, files, windows, plan.device)

            yield from self.checked(node, labels, card, check, (end, share[1]), prefix)
        return node
