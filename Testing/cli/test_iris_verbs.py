"""``dropiris iris encode`` and ``dropiris iris segment`` with a tiny model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from dropiris.files import read_labels
from dropiris.models.bundle import Bundle, write_bundle
from dropiris.volume import Structure

Run = Callable[..., Result]


@pytest.fixture
def task(dropiris: Run, scan: Path, labels: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tasks" / "organs.safetensors"
    done = dropiris("iris", "encode", scan, labels, "-o", path, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "1 reference" in done.stdout
    return path


def test_a_task_segments_a_scan_and_names_its_structures(dropiris: Run, task: Path, scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "result.seg.nrrd"
    done = dropiris("iris", "segment", scan, "--task", task, "-o", output, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert read_labels(output)[0].shape == (40, 36, 20)


def test_a_reference_and_its_task_give_the_same_result(
    dropiris: Run, task: Path, scan: Path, labels: Path, tmp_path: Path
) -> None:
    """Unless the reference is aligned with the scan, which a task cannot be."""
    one, two, aligned = (tmp_path / f"{name}.nii.gz" for name in ("one", "two", "aligned"))
    pair = ["--reference", scan, labels]
    for words in (["--task", task, "-o", one], [*pair, "--no-align", "-o", two], [*pair, "-o", aligned]):
        done = dropiris("iris", "segment", scan, *words, "--device", "cpu")
        assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(read_labels(one)[0].array, read_labels(two)[0].array)
    truth, found = read_labels(labels)[0].array, read_labels(aligned)[0].array
    assert 2 * ((truth > 0) & (found == truth)).sum() > 0.8 * ((truth > 0).sum() + (found > 0).sum())


@pytest.mark.parametrize("strategy", ["one-shot", "ensemble", "retrieval", "tune"])
def test_several_references_work_with_every_strategy(
    dropiris: Run, scan: Path, labels: Path, tmp_path: Path, strategy: str
) -> None:
    second, second_labels = tmp_path / "second.nii.gz", tmp_path / "second_labels.nii.gz"
    shutil.copy(scan, second)
    shutil.copy(labels, second_labels)
    output = tmp_path / "result.nii.gz"
    pairs = ["--reference", scan, labels, "--reference", second, second_labels]
    done = dropiris("iris", "segment", *pairs, scan, "--strategy", strategy, "-o", output, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert output.is_file()


def test_encoding_takes_several_pairs_and_chosen_structures(
    dropiris: Run, scan: Path, labels: Path, tmp_path: Path
) -> None:
    from dropiris.inference import TaskEmbedding

    path = tmp_path / "task.safetensors"
    words = [scan, labels, scan, labels, "-o", path, "-s", "label 1", "--device", "cpu"]
    done = dropiris("iris", "encode", *words)
    assert done.exit_code == 0, done.output
    assert TaskEmbedding.load(path).names == ("label 1",)


def test_bad_usage_is_one_sentence_with_code_2(dropiris: Run, scan: Path, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nii.gz"
    for words in (
        ["segment", scan, "-o", out],
        ["segment", scan, "-o", out, "--reference", scan],
        ["segment", scan, "-o", out, "--reference", scan, labels, "--task", scan],
        ["segment", scan, "-o", out, "--task", scan, "--strategy", "tune"],
        ["segment", scan, "-o", out, "--reference", scan, labels, "--classes", "liver"],
        ["encode", scan, "-o", tmp_path / "task.safetensors"],
        ["encode", scan, labels, "-o", tmp_path / "task.txt"],
    ):
        done = dropiris("iris", *words)
        assert done.exit_code == 2 and len(done.stderr.strip().splitlines()) == 1, done.output
    assert not out.exists()


def test_what_cannot_be_used_is_named(dropiris: Run, scan: Path, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nii.gz"
    for words, text in (
        (["--task", scan], scan.name),
        (["--task", tmp_path / "absent.safetensors"], "absent.safetensors"),
        (["--reference", scan, tmp_path / "absent.nii"], "absent.nii"),
        (["--reference", scan, labels, "-s", "heart"], "heart"),
        (["--reference", scan, labels, "-m", "tiny"], "dropgen segment"),
    ):
        done = dropiris("iris", "segment", scan, "-o", out, *words)
        assert done.exit_code == 1 and text in done.stderr, done.output
        assert len(done.stderr.strip().splitlines()) == 1 and not out.exists()


@pytest.fixture
def remembering(shipped: Path, tmp_path: Path) -> Path:
    """The tiny model with a memory of two classes, as training writes it."""
    import torch

    bundle = Bundle.open(shipped / "tiny-iris")
    memory = {"memory.tokens": torch.randn(2, 6, 64), "memory.spacing": torch.tensor([2.0, 3.0])}
    card = replace(bundle.card, structures=(Structure(1, "liver", (0.8, 0.4, 0.3)), Structure(2, "spleen")))
    return write_bundle(tmp_path / "remembering", card, {**bundle.tensors(), **memory}).folder


def test_classes_of_training_need_no_reference(
    dropiris: Run, remembering: Path, shipped: Path, scan: Path, tmp_path: Path
) -> None:
    output = tmp_path / "result.seg.nrrd"
    words = ["iris", "segment", scan, "-m", remembering, "-o", output, "--device", "cpu"]
    for classes, expected in (
        ("spleen,liver", ["liver", "spleen"]),
        ("all", ["liver", "spleen"]),
        ("liver", ["liver"]),
    ):
        done = dropiris(*words, "--classes", classes)
        assert done.exit_code == 0, done.output
        assert [s.name for layer in read_labels(output) for s in layer.structures] == expected
    refused = dropiris(*words, "--classes", "heart")
    assert refused.exit_code == 1 and "'heart'" in refused.stderr and "liver, spleen" in refused.stderr
    refused = dropiris("iris", "segment", scan, "-o", output, "--classes", "liver", "--device", "cpu")
    assert refused.exit_code == 1 and "remembers no class" in refused.stderr
    assert "liver, spleen" in dropiris("models", "info", remembering).stdout
