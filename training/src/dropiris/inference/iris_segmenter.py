"""Iris on whole scans: references become a task embedding once, which then segments any number of scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from dropiris.errors import DeviceError, InputError, ModelError
from dropiris.inference.aligning import align_all
from dropiris.inference.atlas import Atlas
from dropiris.inference.decisions import largest_positive
from dropiris.inference.devices import Device, choose_device, free_cache, is_out_of_memory
from dropiris.inference.finer_labels import ScanGrid
from dropiris.inference.foreground import find_foreground
from dropiris.inference.iris_scorer import IrisScorer
from dropiris.inference.loading import check_channels, check_window, load_extractor, load_network
from dropiris.inference.memory import read_memory
from dropiris.inference.places import Places
from dropiris.inference.preparation import prepare
from dropiris.inference.reference_crops import PlacedMask, cut_image, place_mask, plan_crops
from dropiris.inference.reference_windows import ReferenceWindow
from dropiris.inference.sliding_window import Windows, label_type, pad_to_window, segment_windows
from dropiris.inference.task_embedding import TaskEmbedding, average
from dropiris.inference.working_spacing import (
    box_of,
    group_spacings,
    labelled_extent,
    spacing_together,
    structure_spacing,
)
from dropiris.models.bundle import Bundle
from dropiris.networks.iris import Iris
from dropiris.progress import CancelToken, Progress, ProgressCallback, ignore_progress
from dropiris.volume import LabelMap, Reference, Structure, Volume

ALIGNING = 0.3  # of a scan's time, for progress


class IrisSegmenter:
    """An Iris model ready to learn from references and to segment.

    Parameters
    ----------
    bundle : Bundle
    device : str or Device
        See :func:`~dropiris.inference.devices.choose_device`.
    overlap, blending, batch
        See :class:`~dropiris.inference.sliding_window.Windows`; ``batch`` None takes 4 on a GPU, else 1.
    """

    def __init__(
        self, bundle: Bundle, device: str | Device = "auto", overlap: float = 0.5, blending: str = "gaussian",
        batch: int | None = None,
    ):  # fmt: skip
        self.bundle, self.card = bundle, bundle.card
        self.device = choose_device(device) if isinstance(device, str) else device
        tensors = bundle.tensors()
        iris = load_network(bundle, self.card.network, tensors, "iris.")
        extractor = load_extractor(bundle, tensors)
        if not isinstance(iris, Iris):
            raise ModelError(f"The model {self.card.name!r} is no Iris network; choose another model.")
        check_channels(bundle, iris.encoder.stages[0].first.in_channels, extractor)  # type: ignore[arg-type, union-attr]
        size = check_window(bundle, iris.multiple, 2 * iris.multiple)
        self.scorer = IrisScorer(iris, extractor, self.device)
        batch = batch or (1 if self.device.torch_device == "cpu" else 4)
        self.windows = Windows(size, overlap, blending, batch)

    @property
    def memory(self) -> TaskEmbedding | None:
        """What the model remembers of its training classes, ready for :meth:`segment`; None where it has no memory."""
        return read_memory(self.bundle)

    def encode(
        self,
        references: Sequence[Reference],
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> TaskEmbedding:
        """Encode references once; several are averaged (context ensemble), structures joined by name.

        Raises
        ------
        InputError
            If there is no reference, a scan cannot be used or a structure is empty.
        """
        if not references:
            raise InputError("No reference is given; choose at least one labelled scan.")
        spacing = self.working_spacings(references)
        tasks = []
        for n, reference in enumerate(references):
            if cancel is not None:
                cancel.raise_if_cancelled()
            progress(Progress("Encoding the reference", n / len(references)))
            names = {s.name: spacing[s.name] for s in reference.structures}
            tasks.append(self.encode_at(reference, names, progress, cancel))
        progress(Progress("Encoding the reference", 1.0))
        return average(tasks)

    def working_spacings(self, references: Sequence[Reference]) -> dict[str, float]:
        """One working voxel size (mm) per structure, shared by all references; similar ones are made equal."""
        wanted: dict[str, list[float]] = {}
        for reference in references:
            voxel, boxes, own = reference.volume.spacing, [], {}
            for structure in reference.structures:
                mask = reference.mask(structure.name)  # one at a time: a hundred of a whole body are 13 GB
                box = box_of(mask)
                if box is None:
                    who = reference.volume.name or "the reference"
                    raise InputError(f"The structure {structure.name!r} of {who} is empty; draw it or leave it out.")
                boxes.append(box)
                own[structure.name] = structure_spacing(mask[box], voxel)
            together = spacing_together(labelled_extent(boxes, voxel))
            for name, spacing in own.items():
                wanted.setdefault(name, []).append(max(together, spacing))
        means = [float(np.exp(np.mean(np.log(values)))) for values in wanted.values()]
        return dict(zip(wanted, group_spacings(means), strict=True))

    def encode_at(
        self, reference: Reference, spacing: dict[str, float],
        progress: ProgressCallback = ignore_progress, cancel: CancelToken | None = None,
    ) -> TaskEmbedding:  # fmt: skip
        """Encode one reference's named structures, each at the given working voxel size (mm)."""
        kept = [s for s in reference.structures if s.name in spacing]
        windows = self.reference_windows(reference, spacing)
        return self.encode_windows(windows, kept, reference.volume.name, progress, cancel)

    def encode_windows(
        self, windows: Sequence[ReferenceWindow], structures: Sequence[Structure], source: str = "",
        progress: ProgressCallback = ignore_progress, cancel: CancelToken | None = None,
    ) -> TaskEmbedding:  # fmt: skip
        """Encode a reference called ``source`` from its windows, which show all of ``structures``."""
        sums: dict[str, np.ndarray] = {}
        seen: dict[str, float] = {}
        spacing: dict[str, float] = {}
        for window in windows:
            if cancel is not None:
                cancel.raise_if_cancelled()
            encoded = self._encode(window.image, window.masks, progress).numpy()
            # what several windows see of a structure is averaged by how much of it each one sees
            for one, name, volume in zip(encoded, window.names, window.masks.sum((1, 2, 3)).tolist(), strict=True):
                sums[name] = sums.get(name, 0) + volume * one
                seen[name] = seen.get(name, 0) + volume
                spacing[name] = window.spacing
        return TaskEmbedding(
            tokens=np.stack([sums[s.name] / seen[s.name] for s in structures]),
            structures=numbered(structures),
            spacing=np.array([spacing[s.name] for s in structures]),
            model=self.card.name,
            version=self.card.version,
            sources=(source,) if source else (),
        )

    def reference_windows(self, reference: Reference, spacing: dict[str, float]) -> list[ReferenceWindow]:
        """Windows of a reference that cover its named structures, each at the given working voxel size (mm)."""
        sizes = sorted(set(spacing.values()))
        return [
            window
            for size in sizes
            for window in self.crops(reference, [name for name, value in spacing.items() if value == size], size)
        ]

    def crops(self, reference: Reference, names: Sequence[str], spacing: float) -> list[ReferenceWindow]:
        """Windows of a reference that cover the structures at one working voxel size (mm)."""
        grid, image = prepare(reference.volume, self.card.intensity_rule, (spacing,) * 3)
        placed: dict[str, PlacedMask] = {}
        for name in names:
            mask = place_mask(grid, reference.mask(name))
            if mask is None:
                who = reference.volume.name or "the reference"
                raise InputError(f"The structure {name!r} of {who} is empty; draw it or leave it out.")
            placed[name] = mask
        size = self.windows.size
        found: list[ReferenceWindow] = []
        for start, wanted in plan_crops(list(placed.values()), size):
            used = tuple(names[n] for n in wanted)
            window = torch.from_numpy(cut_image(image, start, size))[None, None]
            masks = torch.from_numpy(np.stack([placed[name].cut(start, size) for name in used]))
            found.append(ReferenceWindow(window, masks, used, spacing))
        return found

    def atlas(self, reference: Reference) -> Atlas:
        """What :meth:`segment` needs of a reference to align it with scans."""
        return Atlas.of(reference, self.card.intensity_rule)

    def segment(
        self,
        volume: Volume,
        task: TaskEmbedding,
        structures: Sequence[str] | None = None,
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
        atlases: Sequence[Atlas] = (),
    ) -> LabelMap:
        """Segment a scan on its own grid: one pass for all structures of about one size.

        Where structures of different sizes claim the same voxel the smaller one wins. With ``atlases``, those of the
        task's references, it counts as well where they have their structures once they are aligned with the scan.

        Raises
        ------
        InputError
            If the scan, the task or a structure's name cannot be used.
        Cancelled
            Within one batch of windows.
        """
        self.check(task)
        task = task if structures is None else task.subset(structures)
        shared = np.array(group_spacings(task.spacing.tolist()))
        largest = max(s.label for s in task.structures)
        result = np.zeros(volume.shape, np.uint8 if largest < 256 else np.uint16)
        sizes = sorted(set(shared.tolist()), reverse=True)
        begin, aligned = 0.0, []
        if atlases:
            begin = ALIGNING
            aligned = align_all(atlases, volume, self.card.intensity_rule, self.device, progress, cancel, begin)
        for n, spacing in enumerate(sizes):
            members = np.flatnonzero(shared == spacing)
            share = (begin + (1 - begin) * (n + 0.02) / len(sizes), begin + (1 - begin) * (n + 0.98) / len(sizes))
            progress(Progress("Preparing the scan", begin + (1 - begin) * n / len(sizes)))
            grid, image = prepare(volume, self.card.intensity_rule, (spacing,) * 3)
            padded, inside = pad_to_window(image, self.windows.size, air=float(image.min()))
            self.scorer.look_for(torch.from_numpy(task.tokens[members]))
            names = [task.structures[m].name for m in members]
            places = Places(aligned, names, grid, image, [part.start for part in inside], self.windows.size)
            found = np.zeros(volume.shape, label_type(len(members)))
            segment_windows(
                padded, self.scorer, largest_positive, self.windows, find_foreground(padded), progress, cancel, share,
                ScanGrid.of(grid, found, padded.shape, inside), places if aligned else None,
            )  # fmt: skip
            values = np.array([0, *(task.structures[m].label for m in members)], result.dtype)
            np.copyto(result, values[found], where=found > 0)
        progress(Progress("Done", 1.0))
        return LabelMap(result, volume.affine, task.structures, volume.name)

    def check(self, task: TaskEmbedding) -> None:
        """Refuse a task that another model made."""
        shape = (self.scorer.iris.tokens, self.scorer.iris.task_channels)
        if (task.model, task.version) != (self.card.name, self.card.version) or task.tokens.shape[1:] != shape:
            raise InputError(
                f"The task was made by the model {task.model} {task.version}, not {self.card.name} "
                f"{self.card.version}; encode the reference again or choose that model."
            )

    def _encode(self, window: torch.Tensor, masks: torch.Tensor, progress: ProgressCallback) -> torch.Tensor:
        """Encode on the device, or on the processor when the device's memory is too small."""
        try:
            return self.scorer.encode(window, masks)
        except Exception as problem:
            if not is_out_of_memory(problem):
                raise
        device = self.scorer.torch_device
        if device == "cpu":
            raise DeviceError("This computer's memory is too small for the model; close other programs and try again.")
        self.scorer.to_cpu()
        free_cache(device)
        message = f"Not enough memory on {device}; going on with the processor, which is slower."
        progress(Progress("Encoding the reference", message=message))
        return self.scorer.encode(window, masks)


def numbered(structures: Sequence[Structure]) -> tuple[Structure, ...]:
    """Structures of a reference with labels that no two share (layers may repeat them): 1..K where they do."""
    labels = [s.label for s in structures]
    if len(set(labels)) == len(labels):
        return tuple(structures)
    return tuple(replace(s, label=n) for n, s in enumerate(structures, start=1))
