"""Pictures of what the models that ship get wrong: ``failures.png`` in each bundle, and what its card says of it.

Run it with ``python training/demo/model_failures.py [MODEL ...]`` after models were trained anew. Everything is shown
on the ICBM152 template, whose licence lets it be copied and changed; the README names its source.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from cases import CROP, HIPPOCAMPUS, icbm152
from model_thumbnails import MODELS, picture, square
from scene import crop

from dropiris.geometry import CanonicalGrid
from dropiris.inference import DropGenSegmenter, IrisSegmenter
from dropiris.models.bundle import Bundle, change_card, sha256_of
from dropiris.networks.views import stable_features
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.extractors import build_extractor
from dropiris.volume import LabelMap, Reference, Volume

NAME = "failures.png"
# Middle of a cavity in the left frontal lobe, mm in MNI space, and its radius.
CAVITY, CAVITY_RADIUS = (-28.0, 30.0, 18.0), 20.0
Failure = tuple[str, list[np.ndarray]]


def hippocampus(head: Volume) -> Failure:
    """The whole head where a crop is expected."""
    found = DropGenSegmenter(Bundle.open(MODELS / "hippocampus-t1"), "cpu").segment(head)
    true = segmented_crop(head)
    return (
        f"Given a whole head instead of a crop around one hippocampus it marks {millilitres(found):.0f} mL all over "
        f"the brain; a hippocampus has about {millilitres(true):.0f} mL. Left: its crop; right: the whole head.",
        [picture(crop_of(head), true, axis=0), picture(head, found, axis=1)],
    )


def brain(head: Volume) -> Failure:
    """A cavity in the left hemisphere, as after an operation."""
    segmenter = DropGenSegmenter(Bundle.open(MODELS / "brain-any-contrast"), "cpu")
    places = np.stack(np.meshgrid(*map(np.arange, head.shape), indexing="ij"), -1)
    distance = np.linalg.norm(places @ head.affine[:3, :3].T + head.affine[:3, 3] - CAVITY, axis=-1)
    cavity = distance < CAVITY_RADIUS
    operated = replace(head, array=np.where(cavity, np.percentile(head.array[head.array > 0], 2), head.array))
    found = segmenter.segment(operated)
    fluid = [s.label for s in found.structures if "ventricle" in s.name]
    inside, tissue = found.array[cavity], ~np.isin(found.array[cavity], [0, *fluid])
    return (
        f"In a cavity of {2 * CAVITY_RADIUS / 10:.0f} cm, as after an operation, it calls {100 * tissue.mean():.0f} % "
        f"tissue and {100 * np.isin(inside, fluid).mean():.0f} % ventricle; nothing of what it knows is there. Left: "
        "the scan as it is; right: with the cavity.",
        [picture(head, segmenter.segment(head), axis=2), picture(operated, found, axis=2)],
    )


def iris(head: Volume) -> Failure:
    """A scan without what the reference shows."""
    segmenter = IrisSegmenter(Bundle.open(MODELS / "iris-general"), "cpu")
    reference = segmented_crop(head)
    example = Reference(crop_of(head), (reference,))
    task = segmenter.encode([example])
    elsewhere = crop(head, (0.0, -65.0, -30.0), CROP, "cerebellum")
    found = segmenter.segment(elsewhere, task, atlases=[segmenter.atlas(example)])
    return (
        "Shown a hippocampus and asked for one where there is none, in a piece of the cerebellum, it marks "
        f"{millilitres(found):.1f} mL; a hippocampus has about {millilitres(reference):.0f} mL. Left: the reference; "
        "right: the cerebellum.",
        [picture(crop_of(head), reference, axis=0), picture(elsewhere, found, axis=0)],
    )


def features(head: Volume) -> Failure:
    """The same anatomy in two contrasts, at voxels far larger than it was trained on."""
    extractor = build_extractor(DropGenConfig(data=[MODELS], extractor="stable-features"))
    agreements, pictures = [], []
    for millimetres in (1.5, 6.0):
        grid = CanonicalGrid.over(head.shape, head.affine, (millimetres,) * 3)
        image = torch.from_numpy(grid.image_to_model(head.array.astype(np.float32)))
        image = padded(image / image.max())
        with torch.no_grad():
            one, other = (stable_features(extractor, x[None, None])[0] for x in (image, inverted(image)))
        inside = image > 0.05
        agreements.append(float(torch.nn.functional.cosine_similarity(one[:, inside], other[:, inside], dim=0).mean()))
        pictures += [colours(one, other, inside)]
    return (
        "Their largest components are smooth: they tell where in a head a voxel lies; the finest edges have to come "
        "from the image beside them. And those of a T1 and of the same scan with its intensities turned round agree "
        f"less where voxels are larger than in training: mean cosine {agreements[0]:.2f} with voxels of 1.5 mm, "
        f"{agreements[1]:.2f} with 6 mm. Each picture: three principal components, above of the scan, below of the "
        "inverted one.",
        pictures,
    )


def segmented_crop(head: Volume) -> LabelMap:
    return DropGenSegmenter(Bundle.open(MODELS / "hippocampus-t1"), "cpu").segment(crop_of(head))


def crop_of(head: Volume) -> Volume:
    return crop(head, HIPPOCAMPUS["right"], CROP, "right")


def millilitres(labels: LabelMap) -> float:
    return float(np.count_nonzero(labels.array) * np.prod(labels.spacing) / 1000)


def padded(image: torch.Tensor) -> torch.Tensor:
    """To sides of a multiple of 16, at least 32, with air."""
    missing = [max(32, -(-side // 16) * 16) - side for side in image.shape]
    return torch.nn.functional.pad(image, [n for m in reversed(missing) for n in (m // 2, m - m // 2)])


def inverted(image: torch.Tensor) -> torch.Tensor:
    return torch.where(image > 0.05, 1.05 - image, image)


def colours(one: torch.Tensor, other: torch.Tensor, inside: torch.Tensor) -> np.ndarray:
    """Both feature maps (C, D, H, W) in the middle axial plane, by the same three components."""
    centre = one[:, inside].mean(1, keepdim=True)
    components = torch.linalg.svd(one[:, inside] - centre, full_matrices=False)[0][:, :3]
    at = one.shape[-1] // 2
    low, high = (torch.quantile((components.T @ (one[:, inside] - centre)), q, dim=1) for q in (0.02, 0.98))
    shown = []
    for part in (one, other):
        plane = torch.einsum("ck,chw->hwk", components, part[..., at] - centre[..., None])
        rgb = ((plane - low) / (high - low)).clamp(0, 1) * inside[..., at, None]
        shown.append(square(np.round(255 * rgb.numpy()).astype(np.uint8).transpose(1, 0, 2)[::-1, ::-1]))
    return np.vstack(shown)


MODELS_SHOWN: dict[str, Callable[[Volume], Failure]] = {
    "brain-any-contrast": brain,
    "hippocampus-t1": hippocampus,
    "iris-general": iris,
    "stable-features": features,
}


def main() -> None:
    from matplotlib.image import imsave

    head = icbm152()
    for model in sys.argv[1:] or MODELS_SHOWN:
        text, pictures = MODELS_SHOWN[model](head)
        gap = np.full((pictures[0].shape[0], 4, 3), 255, np.uint8)
        path = MODELS / model / NAME
        imsave(path, np.hstack([pictures[0], gap, *pictures[1:]]))
        digests = Bundle.open(MODELS / model).card.sha256
        listed = {NAME: sha256_of(path)} if NAME in digests else {}
        change_card(MODELS / model, failures=[{"text": text, "picture": NAME}], sha256={**digests, **listed})
        print(f"{model}: {text} ({path.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
