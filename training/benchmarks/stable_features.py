"""How stable features are and what can be read from them: ``python stable_features.py FEATURES [--data FOLDER]``.

DropGen's Fig. 6 (linear CKA between two contrasts of the same voxels), and beside it always a linear probe: a
classifier fitted on half of the voxels in one contrast and tested on the others in the other one, for features that
collapsed agree too. Scans: T1c and FLAIR of one patient (Dataset007); held-out heads of Dataset005 rendered as CT and
as MR; real T1 (Dataset006) with its intensities to the power of 0.5 and 2. Compared: raw intensities, an untrained
network of the same kind, MIND-SSC.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dropiris.data.brain_structures import brain_groups
from dropiris.data.nnunet import Case, Dataset
from dropiris.data.rendered_volume import rendered_volume
from dropiris.errors import DropIrisError
from dropiris.evaluate.representations import linear_cka, linear_probe
from dropiris.files import read_volume
from dropiris.geometry import CanonicalGrid
from dropiris.models.bundle import write_bundle
from dropiris.models.catalogue import Catalogue
from dropiris.networks import MINDSSC, AnatomixUNet
from dropiris.networks.views import stable_features
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.extractors import build_extractor
from dropiris.volume import Volume

ROOT = Path(__file__).resolve().parents[2]
SPACING, SIDE, VOXELS = (1.25, 1.25, 1.25), 96, 6000
HELD_OUT = ("training_seg_17", "training_seg_18", "training_seg_19", "training_seg_20")
# A pair: an image (1, D, H, W) in [0, 1] in two contrasts, and labels (D, H, W), -1 for what does not count.
Pair = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Score = tuple[float, float]  # CKA and probe


def on_grid(volume: Volume, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """A cube of :data:`SIDE` voxels around what is labelled, intensities to [0, 1] by their percentiles."""
    grid = CanonicalGrid.over(volume.shape, volume.affine, SPACING)
    image, inside = grid.image_to_model(volume.array.astype(np.float32)), grid.labels_to_model(labels)
    low, high = np.percentile(image, (0.1, 99.9))
    image = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    missing = [max(0, SIDE - n) for n in image.shape]
    widths = [(n // 2, n - n // 2) for n in missing]
    image, inside = np.pad(image, widths), np.pad(inside, widths)
    start = np.clip(np.argwhere(inside > 0).mean(0).astype(int) - SIDE // 2, 0, np.array(image.shape) - SIDE)
    box = tuple(slice(int(s), int(s) + SIDE) for s in start)
    return torch.from_numpy(image[box].copy())[None].float(), torch.from_numpy(inside[box].astype(np.int64))


def sequences_of_patients(data: Path) -> Iterator[Pair]:
    """T1c and FLAIR; labels are tumour parts and the rest of the brain."""
    dataset = Dataset.open(data / "Dataset007_BraTS")
    for case in dataset.cases("Ts"):
        first, labels = case.read()
        second = read_volume(Path(str(case.image).replace("_0000.nii.gz", "_0001.nii.gz")))
        assert first is not None
        brain = first.array > first.array.min()
        where = np.where(brain, labels.array.astype(np.int16) + 1, 0)
        (one, found), (two, _) = on_grid(first, where), on_grid(second, where)
        yield one, two, found - 1


def renderings(data: Path, second: str) -> Iterator[Pair]:
    """CT and an MR sequence of a head nobody trained on; labels are brain structures."""
    dataset = Dataset.open(data / "Dataset005_BrainLabelMaps")
    dataset = dataset.merge(brain_groups(dataset.structures, sides=False))
    for number, case in enumerate(case for case in dataset.cases() if case.name in HELD_OUT):
        pair = [rendered_volume(case, dataset, name, np.random.default_rng(number)) for name in ("CT", second)]
        (one, labels), (two, _) = (on_grid(volume, found.array) for volume, found in pair)
        yield one, two, labels


def gammas(data: Path) -> Iterator[Pair]:
    """Real T1 scans to the power of 0.5 and 2."""
    dataset = Dataset.open(data / "Dataset006_BrainT1")
    dataset = dataset.merge(brain_groups(dataset.structures, sides=False))
    for case in dataset.cases("Ts"):
        image, labels = on_grid(*_both(case))
        yield image.sqrt(), image.square(), labels


def _both(case: Case) -> tuple[Volume, np.ndarray]:
    volume, labels = case.read()
    assert volume is not None
    return volume, labels.array


def measure(pairs: list[Pair], features_of: Callable[[torch.Tensor], torch.Tensor]) -> Score:
    """Mean CKA and probe over pairs."""
    found = []
    for number, (one, two, labels) in enumerate(pairs):
        flat = labels.flatten()
        counted = (flat >= 0).nonzero().flatten()
        weights = 1.0 / torch.bincount(flat[counted]).float()[flat[counted]]
        drawn = torch.multinomial(weights, VOXELS, replacement=True, generator=torch.Generator().manual_seed(number))
        where = counted[drawn]
        fit, test = where.chunk(2)
        a, b = (features_of(image[None])[0].flatten(1).T for image in (one, two))
        found.append((linear_cka(a[where], b[where]), linear_probe(a[fit], flat[fit], b[test], flat[test])))
    cka, probe = np.mean(found, axis=0)
    return float(cka), float(probe)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", help="a bundle of features, its name, or a file of anatomix weights")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--write", action="store_true", help="put the figures into the card; FEATURES is its folder")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    try:
        extractor = build_extractor(DropGenConfig(data=[chosen.data], extractor=chosen.features))
        settings = {
            "T1c and FLAIR": list(sequences_of_patients(chosen.data)),
            "CT-like and T1-like": list(renderings(chosen.data, "T1")),
            "CT-like and T2-like": list(renderings(chosen.data, "T2")),
            "gamma 0.5 and 2": list(gammas(chosen.data)),
        }
    except DropIrisError as problem:
        print(problem, file=sys.stderr)
        return 1
    torch.manual_seed(0)
    known: dict[str, nn.Module | None] = {
        chosen.features: extractor,
        "MIND-SSC": MINDSSC(),
        "untrained": AnatomixUNet().eval(),
        "raw intensities": None,
    }
    print("| CKA / probe | " + " | ".join(settings) + " |\n|" + "---|" * (1 + len(settings)))
    found: dict[str, list[Score]] = {}
    for name, network in known.items():
        found[name] = [
            measure(pairs, lambda x, n=network: x if n is None else _features(n, x)) for pairs in settings.values()
        ]
        print(f"| {name} | " + " | ".join(f"{cka:.2f} / {probe:.2f}" for cka, probe in found[name]) + " |", flush=True)
    if chosen.write:
        bundle = Catalogue().find(chosen.features)
        rows = card_rows(found, {name: len(pairs) for name, pairs in settings.items()})
        write_bundle(bundle.folder, replace(bundle.card, scores=rows), bundle.tensors(), also=bundle.others())
    return 0


def card_rows(found: dict[str, list[Score]], cases: dict[str, int]) -> list[dict[str, object]]:
    """Rows of a card: CKA and probe of the first in ``found``, the others' in the note."""
    own, *others = found
    rows: list[dict[str, object]] = []
    for number, (pair, count) in enumerate(cases.items()):
        for which, metric in enumerate(("CKA", "linear probe across contrasts")):
            note = ", ".join(f"{name} {found[name][number][which]:.2f}" for name in others)
            value = round(found[own][number][which], 4)
            rows.append(
                {"dataset": pair, "structure": "", "metric": metric, "value": value, "cases": count, "note": note}
            )
    return rows


@torch.no_grad()
def _features(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    return stable_features(network, image)


if __name__ == "__main__":
    sys.exit(main())
