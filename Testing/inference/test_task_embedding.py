"""A task embedding is a small file that keeps names, colours, codes and spacing, and needs no torch."""

import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from dropiris.errors import InputError
from dropiris.inference.task_embedding import TaskEmbedding, average
from dropiris.volume import Structure

LIVER = Structure(1, "liver", (0.5, 0.2, 0.1), "SCT^10200004^Liver")
SPLEEN = Structure(2, "spleen", (0.6, 0.1, 0.3))


def task(*structures: Structure, value: float = 1.0, source: str = "scan", **changes) -> TaskEmbedding:
    structures = structures or (LIVER, SPLEEN)
    tokens = np.stack([np.full((5, 64), value * s.label, np.float32) for s in structures])
    values = {"model": "iris-any", "version": "1.0.0", "spacing": np.full(len(structures), 2.0), "sources": (source,)}
    return TaskEmbedding(tokens, structures, **{**values, **changes})


def test_a_saved_task_comes_back_whole(tmp_path):
    made = task(spacing=np.array([2.0, 0.7]))
    path = made.save(tmp_path / "tâche à moi" / "liver.safetensors")
    loaded = TaskEmbedding.load(path)
    assert np.array_equal(loaded.tokens, made.tokens) and np.array_equal(loaded.spacing, made.spacing)
    assert loaded.structures == made.structures and loaded.sources == ("scan",)
    assert (loaded.model, loaded.version) == ("iris-any", "1.0.0")
    assert loaded.digest == made.digest
    assert [p.name for p in path.parent.iterdir()] == ["liver.safetensors"]


def test_equal_tasks_have_equal_digests_and_others_not():
    assert task().digest == task(source="another scan").digest
    assert task().digest != task(value=1.1).digest
    assert task().digest != task(version="1.0.1").digest


def test_a_task_is_read_without_torch(tmp_path):
    path = task().save(tmp_path / "task.safetensors")
    code = (
        "import sys; from dropiris.inference import TaskEmbedding, average;"
        f"average([TaskEmbedding.load({str(path)!r})]); assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_file_that_is_no_task_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"tokens": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    for name in ("text", "other"):
        with pytest.raises(InputError, match="is no saved task"):
            TaskEmbedding.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        TaskEmbedding.load(tmp_path / "missing.safetensors")


def test_a_damaged_file_is_found_out(tmp_path):
    path = task().save(tmp_path / "task.safetensors")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        TaskEmbedding.load(path)


def test_the_average_is_the_mean_of_the_tokens_and_keeps_one_set_of_structures():
    mean = average([task(value=1.0, source="a"), task(value=3.0, source="b")])
    assert np.allclose(mean.tokens, task(value=2.0).tokens)
    assert mean.structures == (LIVER, SPLEEN) and mean.sources == ("a", "b")


def test_weights_count():
    mean = average([task(value=1.0), task(value=3.0)], weights=[3, 1])
    assert np.allclose(mean.tokens, task(value=1.5).tokens)


def test_structures_are_joined_by_name_and_never_share_a_label():
    other = task(Structure(1, "spleen"), Structure(2, "kidney"), value=4.0)
    mean = average([task(), other])
    assert mean.names == ("liver", "spleen", "kidney")
    assert len({s.label for s in mean.structures}) == 3
    assert np.allclose(mean.tokens[1], (2.0 + 4.0) / 2)
    assert np.allclose(mean.tokens[2], 8.0)


def test_the_average_of_one_is_itself():
    assert average([task()]).digest == task().digest


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: task(model="iris-other"), "come from different models"),
        (lambda: task(Structure(1, "heart")), "no structure name in common"),
    ],
)
def test_tasks_that_do_not_go_together_are_refused(other, words):
    with pytest.raises(InputError, match=words):
        average([task(), other()])


def test_a_subset_keeps_labels_and_order():
    part = task().subset(["spleen"])
    assert part.structures == (SPLEEN,) and np.allclose(part.tokens, 2.0)
    assert task().subset(["spleen", "liver"]).names == ("liver", "spleen")
    with pytest.raises(InputError, match="no structure 'heart'; choose among: liver, spleen"):
        task().subset(["heart"])


def test_tokens_that_are_not_numbers_are_refused():
    with pytest.raises(InputError, match="not finite"):
        task(value=np.nan)
