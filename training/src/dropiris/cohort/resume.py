"""What a run that goes on need not do again: results that are there, whole, and of this model and these settings."""

from __future__ import annotations

from dropiris.cohort.case import CHANGED, DONE, WAITING, Case, CaseRecord
from dropiris.cohort.marks import is_still
from dropiris.cohort.recipe import Recipe
from dropiris.errors import InputError
from dropiris.models.bundle import sha256_of


def standing(case: Case, record: CaseRecord | None, recipe: Recipe) -> str:
    """DONE (skip), CHANGED (a person corrected the result: never overwritten) or WAITING (segment it).

    A result with the SHA-256 it was read back with opens and fits its scan; another one is opened to see.
    """
    if record is None or record.status not in (DONE, CHANGED) or record.result != case.result.name:
        return WAITING
    if not case.result.is_file():
        return WAITING
    if sha256_of(case.result) != record.result_sha256:
        return CHANGED if opens_and_fits(case) else WAITING
    same = record.recipe == recipe.digest and (record.trusted or not recipe.trust)
    return DONE if same and is_still(case.scan, record.scan_mark) else WAITING


def opens_and_fits(case: Case) -> bool:
    """Whether a result can be read and lies on its scan's grid."""
    from dropiris.files import read_labels, read_volume

    try:
        if case.result.name.lower().endswith(".dcm"):
            from dropiris.files.dicom_slices import read_header

            return read_header(case.result).get("Modality") == "SEG"
        read_labels(case.result, like=read_volume(case.scan))
    except InputError:
        return False
    return True
