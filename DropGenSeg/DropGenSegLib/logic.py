"""Automatic segmentation of one scan: scene to worker to scene."""

from DropGenSegLib.parameters import DropGenSegParameters
from dropiris.errors import InputError
from dropiris.mrml import volume_from_node
from dropiris.mrml.results import check_target
from dropiris.panels.run import Run, Step
from dropiris.panels.segmentation_logic import SegmentationLogic
from dropiris.trust import why_not


class DropGenSegLogic(SegmentationLogic):
    """Segments with DropGen models; parameters as of the base class."""

    def getParameterNode(self):
        return DropGenSegParameters(super().getParameterNode())

    def process(
        self,
        inputVolume,
        outputSegmentation=None,
        model="",
        structures=None,
        device="auto",
        mode="add",
        progress=None,
        cancel=None,
        trust=False,
    ):
        """Segment a scan and wait for the result.

        Parameters
        ----------
        inputVolume : vtkMRMLScalarVolumeNode
        outputSegmentation : vtkMRMLSegmentationNode, optional
            None makes a new one. An existing one keeps its segments: see ``mode``.
        model : str
            Name of a model or path of its folder; "" takes the first DropGen model.
        structures : sequence of str, optional
            Which of the model's structures; None takes all.
        device : {"auto", "cuda", "mps", "cpu"}
        mode : {"add", "replace"}
            Add segments beside those in ``outputSegmentation``, or replace those of the same name.
        progress : callable, optional
            Called with :class:`dropiris.progress.Progress` on this thread.
        cancel : dropiris.progress.CancelToken, optional
        trust : bool
            Also compare the result with partial views of the scan; a number is kept with each segment (see
            :mod:`dropiris.mrml.trust`). It takes about as long again at most; a cancel then keeps the result.

        Returns
        -------
        vtkMRMLSegmentationNode

        Raises
        ------
        DropIrisError
            One sentence; the scene is then as it was.
        """
        run = self.start(inputVolume, outputSegmentation, model, structures, device, mode, trust)
        return run.wait(progress, cancel)

    def start(
        self, inputVolume, outputSegmentation=None, model="", structures=None, device="auto", mode="add", trust=False
    ):
        """As :meth:`process`, but return a :class:`dropiris.panels.run.Run` to poll; inputs are checked first."""
        volume = volume_from_node(inputVolume)
        bundle = self.models.find(model) if model else self.models.default("dropgen")
        _check_model(bundle, structures)
        check_target(outputSegmentation, inputVolume, mode)
        return Run(self._work(inputVolume, volume, bundle, outputSegmentation, structures, device, mode, trust))

    def _work(self, volumeNode, volume, bundle, segmentationNode, structures, device, mode, trust):
        self.remark = why_not(bundle.card) if trust else ""
        trust = trust and not self.remark
        end = 0.6 if trust else 1.0
        labels = yield Step(self.client.submit_segment_dropgen(volume, bundle.folder, structures, device), 0.0, end)
        node = yield from self.written(labels, volume, volumeNode, segmentationNode, mode, bundle.card, share=end)
        if trust:

            def check():
                return self.client.submit_check_dropgen(volume, labels, bundle.folder, device)

            yield from self.checked(node, labels, bundle.card, check, (end, 1.0))
        return node


def _check_model(bundle, structures):
    card = bundle.card
    if card.method != "dropgen":
        raise InputError(f"{card.name} is not a DropGen model; use it in the IrisICL module.")
    if structures is None:
        return
    names = [structure.name for structure in card.structures]
    unknown = [name for name in structures if name not in names]
    if unknown:
        raise InputError(f"{card.name} has no structure {unknown[0]!r}; choose among: {', '.join(names)}.")
    if not structures:
        raise InputError("No structure is chosen; choose at least one.")
