"""``dropiris train``: settings from words, options and files, then two real steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two training cases and one validation case of a bright box, nnU-Net layout."""
    import nibabel

    root = tmp_path / "Dataset001_Box"
    table = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "box": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "name": "Box",
        "modality": "MR",
        "licence": "CC0-1.0",
    }
    rng = np.random.default_rng(0)
    for split, cases in (("Tr", "ab"), ("Val", "c")):
        for case in cases:
            labels = np.zeros((36, 36, 36), np.uint8)
            labels[10:24, 10:24, 10:24] = 1
            image = (100 * labels + rng.normal(50, 5, labels.shape)).astype(np.float32)
            for kind, array, suffix in (("images", image, "_0000"), ("labels", labels, "")):
                folder = root / f"{kind}{split}"
                folder.mkdir(parents=True, exist_ok=True)
                nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / f"{case}{suffix}.nii.gz")
    (root / "dataset.json").write_text(json.dumps(table))
    return root


SMALL = ["max_steps=2", "window=[32, 32, 32]", "base_width=4", "precision=32-true", "accelerator=cpu"]


def test_two_steps_write_a_bundle_that_segments(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = dropiris("train", "dropgen", "--data", dataset, "-o", run, *SMALL, "downsamplings=2", "name=box")
    assert done.exit_code == 0, done.output
    folder = Path(done.stdout.strip().splitlines()[-1].split(": box")[0])
    scan, output = dataset / "imagesVal" / "c_0000.nii.gz", tmp_path / "out.nii.gz"
    segmented = dropiris("dropgen", "segment", scan, "-m", folder, "-o", output, "--device", "cpu")
    assert segmented.exit_code == 0, segmented.output
    assert output.is_file()


def test_two_steps_of_iris_write_a_bundle_that_encodes_and_segments(
    dropiris: Run, dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ["base_width=8", "task_channels=64", "queries=2", "name=any"]
    done = dropiris("train", "iris", "--data", dataset, "-o", run, *SMALL, *words)
    assert done.exit_code == 0, done.output
    folder = Path(done.stdout.strip().splitlines()[-1].split(": any")[0])
    pair = [dataset / "imagesTr" / "a_0000.nii.gz", dataset / "labelsTr" / "a.nii.gz"]
    scan, output = dataset / "imagesVal" / "c_0000.nii.gz", tmp_path / "out.nii.gz"
    words = ["-m", folder, "--reference", *pair, "-o", output, "--device", "cpu"]
    segmented = dropiris("iris", "segment", scan, *words)
    assert segmented.exit_code == 0, segmented.output
    assert output.is_file()


def test_settings_come_from_a_file_and_words_win(dataset: Path, tmp_path: Path) -> None:
    from dropiris.cli.settings import read_settings
    from dropiris.train.dropgen_config import DropGenConfig

    file = tmp_path / "settings.yaml"
    file.write_text(f"data: ['{dataset.as_posix()}']\nmax_steps: 5\nlearning_rate: 1e-3\nmirror: true\n")
    made = read_settings(DropGenConfig, file, None, ["max_steps=7", "learning_rate=5e-4", "spacing=[2, 2, 2]"])
    assert (made.max_steps, made.learning_rate, made.mirror) == (7, 5e-4, True)
    assert made.spacing == (2.0, 2.0, 2.0) and made.data == [dataset]


def test_a_word_reaches_into_a_setting_and_leaves_the_rest_of_it(dataset: Path, tmp_path: Path) -> None:
    from dropiris.cli.settings import read_settings
    from dropiris.train.dropgen_config import DropGenConfig

    file = tmp_path / "settings.yaml"
    file.write_text("training: {count: 3, seed: 9}\n")
    made = read_settings(DropGenConfig, file, [dataset], ["training.count=5"])
    assert (made.training.count, made.training.seed) == (5, 9)


def test_the_stored_settings_make_the_same_run(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    from dropiris.cli.settings import read_settings
    from dropiris.train.dropgen_config import DropGenConfig

    words = [*SMALL, "downsamplings=2", "spacing=[1.5, 1, 1]", "name=box"]
    assert dropiris("train", "dropgen", "--data", dataset, "-o", tmp_path / "run", *words).exit_code == 0
    again = read_settings(DropGenConfig, tmp_path / "run" / "config.yaml", None, [])
    assert again.spacing == (1.5, 1.0, 1.0) and again.max_steps == 2 and again.data == [dataset]


def test_a_run_starts_from_a_model(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    words = ["--data", dataset, *SMALL, "downsamplings=2", "name=box"]
    assert dropiris("train", "dropgen", "-o", tmp_path / "first", *words).exit_code == 0
    model = tmp_path / "first" / "box"
    done = dropiris("train", "dropgen", "-o", tmp_path / "second", *words, "--init-from", model, "learning_rate=1e-9")
    assert done.exit_code == 0, done.output
    from dropiris.models.bundle import Bundle

    before, after = (Bundle.open(tmp_path / run / "box").tensors() for run in ("first", "second"))
    name = next(key for key in before if key.endswith("weight"))
    assert abs(before[name] - after[name]).max() < 1e-5
    done = dropiris("train", "dropgen", "-o", tmp_path / "third", *words, "base_width=6", "--init-from", model)
    assert done.exit_code == 1 and "no weights that fit" in done.stderr


def test_settings_that_cannot_be_used_are_bad_usage(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    for words, text in (
        (["max_stepps=2"], "did you mean 'max_steps'"),
        (["max_steps=none"], "max_steps"),
        (["max_steps=0"], "max_steps"),
        (["max_steps"], "key=value"),
        (["training.cuont=2"], "did you mean 'training.count'"),
        (['structures={"box": {"nmae": "Box", "name": "x"}}'], "did you mean 'structures.box.name'"),
        (["window=[30, 32, 32]"], "multiples of 16"),
        (["loggers=[tensorbord]"], "loggers"),
    ):
        done = dropiris("train", "dropgen", "--data", dataset, "-o", tmp_path / "run", *words)
        assert done.exit_code == 2 and text in done.stderr, done.output
        assert len(done.stderr.strip().splitlines()) == 1
    assert dropiris("train", "iris", "-o", tmp_path / "run").exit_code == 2
    assert not (tmp_path / "run").exists()


def test_files_that_cannot_be_used_are_named(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    bad, wrong = tmp_path / "bad.yaml", tmp_path / "wrong.json"
    bad.write_text("max_steps: [")
    wrong.write_text(json.dumps({"max_steps": -1}))
    for file in (bad, wrong, tmp_path / "absent.yaml"):
        done = dropiris("train", "iris", "--data", dataset, "-o", tmp_path / "run", "--config", file)
        assert done.exit_code == 1 and file.name in done.stderr, done.output
    done = dropiris("train", "dropgen", "--data", tmp_path / "nothing", "-o", tmp_path / "run")
    assert done.exit_code == 1 and "nothing" in done.stderr and not (tmp_path / "run").exists()


def test_an_extractor_needs_no_data_and_says_how_to_use_it(dropiris: Run, tmp_path: Path) -> None:
    words = ["max_steps=1", "window=[32, 32, 32]", "precision=32-true", "accelerator=cpu", "validation_pairs=1"]
    done = dropiris("train", "extractor", "-o", tmp_path / "run", "name=stable", *words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "run" / "stable" / "weights.safetensors").is_file() and "extractor=" in done.stdout
