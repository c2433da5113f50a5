"""Figure 5: task embeddings of many references on a plane (t-SNE), and which classes resemble each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dropiris.benchmark.iris_data import Chosen, Model
from dropiris.benchmark.units import Unit
from dropiris.data.nnunet import Case
from dropiris.files.reading import library
from dropiris.inference.task_embedding import TaskEmbedding


@dataclass(frozen=True)
class Embedded:
    """A structure of a reference: its task embedding as one vector (tokens * C,)."""

    dataset: str
    structure: str
    case: str
    vector: np.ndarray


def embedding_units(model: Model, chosen: Chosen) -> Iterator[Unit]:
    """A unit per reference."""
    for case in chosen.cases:
        yield Unit(
            f"{model.name}, embedding of {chosen.dataset.name}, {case.name}",
            model.folder / "embeddings" / chosen.dataset.name / f"{case.name}.json",
            {**model.settings, "structures": [*chosen.dataset.structures]},
            partial(_run, model, chosen, case),
        )


def _key(chosen: Chosen, case: Case) -> list[str]:
    return ["embedding", chosen.dataset.name, *chosen.dataset.structures, case.name]


def _run(model: Model, chosen: Chosen, case: Case) -> dict[str, Any]:
    task = model.kept_task(_key(chosen, case), lambda: model.segmenter.encode([chosen.reference(case)]))
    assert task is not None
    return {"dataset": chosen.dataset.name, "case": case.name, "structures": list(task.names)}


def embedded(model: Model, chosen: Chosen) -> list[Embedded]:
    """The embeddings that have been made."""
    found = []
    for case in chosen.cases:
        task = model.kept_task(_key(chosen, case), lambda: None)
        if task is not None:
            found += [Embedded(chosen.dataset.name, *one) for one in _vectors(task, case.name)]
    return found


def _vectors(task: TaskEmbedding, case: str) -> Iterator[tuple[str, str, np.ndarray]]:
    for name, tokens in zip(task.names, task.tokens, strict=True):
        yield name, case, tokens.reshape(-1).astype(np.float64)


def centred(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors of (n, size) less their mean.

    What all embeddings of a model share (its learned queries look for much the same in every structure) is most of
    each: with it, every pair has a cosine above 0.99.
    """
    vectors = vectors - vectors.mean(0)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def on_a_plane(points: Sequence[Embedded]) -> np.ndarray | None:
    """t-SNE (n, 2) by cosine distance; None of fewer than five points.

    Perplexity 30, or what so few points allow. Distances between far groups mean nothing on such a map.
    """
    if len(points) < 5:
        return None
    manifold = library("sklearn.manifold", "dropiris[train]", "t-SNE")
    perplexity = min(30.0, (len(points) - 1) / 3)
    # sklearn 1.2 to 1.9: random starts, since PCA's needs more points than features.
    tsne = manifold.TSNE(2, perplexity=perplexity, metric="cosine", init="random", random_state=0)
    plane: np.ndarray = tsne.fit_transform(centred(np.stack([point.vector for point in points])))
    return plane


def neighbours(points: Sequence[Embedded]) -> list[tuple[str, str, str, str, float]]:
    """For each class (dataset, structure) the most similar other class and the cosine of their mean embeddings.

    Less the mean of all classes; [] of fewer than three.
    """
    groups: dict[tuple[str, str], list[np.ndarray]] = {}
    for point in points:
        groups.setdefault((point.dataset, point.structure), []).append(point.vector)
    names = list(groups)
    if len(names) < 3:  # two classes, less their mean, are opposites
        return []
    means = centred(np.stack([np.mean(vectors, 0) for vectors in groups.values()]))
    likeness = means @ means.T
    np.fill_diagonal(likeness, -np.inf)
    return [(*names[n], *names[int(row.argmax())], float(row.max())) for n, row in enumerate(likeness)]
