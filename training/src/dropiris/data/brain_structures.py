"""Structures of the brain by one name, whoever drew them: FreeSurfer (Dataset005) or Neuromorphometrics (Dataset006).

What the two draw differently stays different. The inferior horns count as lateral ventricle, the vermis (a part of its
own in Dataset006, split between the sides in Dataset005) as cerebellum, which therefore has no sides; white matter
lesions count as white matter. Accumbens, ventral diencephalon, basal forebrain, third and fourth ventricle and the few
voxels of "cerebral exterior" are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Name here: what others call it, without its side and in small letters.
WITH_SIDES: dict[str, tuple[str, ...]] = {
    "cerebral white matter": ("cerebral white matter",),
    "cerebral cortex": ("cerebral cortex",),  # in Dataset006 the sum of CORTICAL_PARCELS
    "lateral ventricle": ("lateral ventricle", "inferior lateral ventricle", "inf lat vent"),
    "thalamus": ("thalamus", "thalamus proper"),
    "caudate": ("caudate",),
    "putamen": ("putamen",),
    "pallidum": ("pallidum",),
    "hippocampus": ("hippocampus",),
    "amygdala": ("amygdala",),
}
WITHOUT_SIDES: dict[str, tuple[str, ...]] = {
    "brainstem": ("brainstem", "brain stem"),
    "cerebellum": (
        "cerebellum",
        "cerebellum white matter",
        "cerebellum cortex",
        "cerebellum exterior",
        "cerebellar vermal lobules i v",
        "cerebellar vermal lobules vi vii",
        "cerebellar vermal lobules viii x",
    ),
}
# Parcels of the cortex in Dataset006: an abbreviation, then small letters ("Right_ACgG_anterior_cingulate_gyrus").
CORTICAL_PARCELS = re.compile(r"(?:Left|Right)_[A-Z][A-Za-z]*_[a-z]")
# What the target of the brain model is the mean of.
DEEP = ("lateral ventricle", "thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala")
_SIDE = re.compile(r"(left|right) ")
_PART = re.compile(r" part \d+$")  # what SynthSeg merges into a structure, as the table of Dataset005 says


def brain_groups(names: Iterable[str], sides: bool = True) -> dict[str, list[str]]:
    """What :meth:`~dropiris.data.nnunet.Dataset.merge` takes: a structure by its name here to the names it is made of.

    Parameters
    ----------
    names : iterable of str
        What a dataset or a model calls its structures.
    sides : bool
        "left thalamus" and "right thalamus", or both as "thalamus".

    Returns
    -------
    dict
        In the order of the tables above; only what occurs.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        side, structure = _named(name)
        if structure is not None:
            title = f"{side} {structure}" if sides and side and structure in WITH_SIDES else structure
            found.setdefault(title, []).append(name)
    order = [f"{side}{one}" for one in WITH_SIDES for side in ("", "left ", "right ")]
    return {title: found[title] for title in [*order, *WITHOUT_SIDES] if title in found}


def is_deep(title: str) -> bool:
    """Whether a structure by its name here is one of :data:`DEEP`, of either side."""
    return _SIDE.sub("", title) in DEEP


def _named(name: str) -> tuple[str, str | None]:
    """Side ("" for none) and name here; None for what is in no table."""
    text = re.sub(r"[\s_-]+", " ", name).strip().casefold()
    side = found[1] if (found := _SIDE.match(text)) else ""
    if CORTICAL_PARCELS.match(name):
        return side, "cerebral cortex"
    bare = _PART.sub("", text.removeprefix(f"{side} "))
    tables = {**WITH_SIDES, **WITHOUT_SIDES}
    return side, next((structure for structure, names in tables.items() if bare in names), None)
