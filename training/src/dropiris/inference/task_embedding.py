"""What Iris knows of a task: a few tokens per structure, with names, colours, codes and working spacing.

Needs numpy and safetensors, no torch: panels read, subset and average tasks inside Slicer.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.volume import Structure

# Raised when tokens or metadata change their meaning.
FORMAT = 1


@dataclass(frozen=True, eq=False)
class TaskEmbedding:
    """Encoded references.

    Attributes
    ----------
    tokens : ndarray (K, tokens, C) of float32
        Per structure: T_f, T_c (m), three prototypes of the similarity prior, then the weights in closed form.
    structures : tuple of K Structure
        Labels from 1.
    spacing : ndarray (K,)
        Isotropic working voxel size of each structure, mm.
    model, version : str
        Of the Iris model that made the tokens; no other can read them.
    sources : tuple of str
        Names of the reference scans.
    """

    tokens: np.ndarray
    structures: tuple[Structure, ...]
    spacing: np.ndarray
    model: str
    version: str
    sources: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "tokens", np.ascontiguousarray(self.tokens, dtype=np.float32))
        put(self, "structures", tuple(self.structures))
        put(self, "spacing", np.array(self.spacing, dtype=np.float64).reshape(-1))
        put(self, "sources", tuple(self.sources))
        count = len(self.structures)
        if self.tokens.ndim != 3 or len(self.tokens) != count or len(self.spacing) != count or not count:
            raise InputError("The task's tokens do not fit its structures; encode the reference again.")
        if not np.isfinite(self.tokens).all() or not (np.isfinite(self.spacing) & (self.spacing > 0)).all():
            raise InputError("The task holds numbers that are not finite; encode the reference again.")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.structures)

    @property
    def digest(self) -> str:
        """SHA-256 of the content: equal tasks have equal digests, whatever their file is called."""
        about = json.dumps([self.model, self.version, self.names, self.spacing.tolist(), list(self.tokens.shape)])
        return hashlib.sha256(about.encode() + self.tokens.tobytes()).hexdigest()

    def subset(self, names: Sequence[str]) -> TaskEmbedding:
        """The same task for the named structures only, in the task's order; labels are kept."""
        unknown = [name for name in names if name not in self.names]
        if unknown or not names:
            what = f"The task has no structure {unknown[0]!r}" if unknown else "No structure is chosen"
            raise InputError(f"{what}; choose among: {', '.join(self.names)}.")
        keep = [n for n, name in enumerate(self.names) if name in set(names)]
        return replace(
            self,
            tokens=self.tokens[keep],
            structures=tuple(self.structures[n] for n in keep),
            spacing=self.spacing[keep],
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a ``.safetensors`` file in one step."""
        from safetensors.numpy import save

        path = Path(path)
        metadata = {
            "dropiris_task": str(FORMAT),
            "model": self.model,
            "version": self.version,
            "structures": json.dumps([_to_json(s) for s in self.structures], ensure_ascii=False),
            "sources": json.dumps(self.sources, ensure_ascii=False),
            "digest": self.digest,
        }
        content = save({"tokens": self.tokens, "spacing": self.spacing}, metadata=metadata)
        work = path.with_name(f".{uuid.uuid4().hex[:8]}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            work.write_bytes(content)
            os.replace(work, path)
        except OSError as problem:
            raise InputError(
                f"The task cannot be saved as {path} ({problem.strerror}); choose another place."
            ) from None
        finally:
            work.unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TaskEmbedding:
        """Read a task file; an :class:`InputError` says what is wrong with it."""
        from safetensors.numpy import load

        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as problem:
            raise InputError(f"The task file {path} cannot be read ({problem.strerror}); check the path.") from None
        try:
            tensors = load(content)
            metadata = _metadata(content)
            if int(metadata["dropiris_task"]) > FORMAT:
                raise InputError(f"{path} comes from a newer version; update SegmentAnyScan.")
            task = cls(
                tokens=tensors["tokens"],
                structures=tuple(_from_json(item) for item in json.loads(metadata["structures"])),
                spacing=tensors["spacing"],
                model=metadata["model"],
                version=metadata["version"],
                sources=tuple(json.loads(metadata["sources"])),
            )
        except InputError as problem:
            raise InputError(f"{path}: {problem}") from None
        except Exception as problem:
            raise InputError(f"{path} is no saved task; choose a file that IrisICL saved.") from problem
        if metadata.get("digest") != task.digest:
            raise InputError(f"{path} is damaged; copy it again or encode the reference again.")
        return task


def average(tasks: Sequence[TaskEmbedding], weights: Sequence[float] | None = None) -> TaskEmbedding:
    """Context ensemble (Sec. 3.4): the mean embedding of several references, structures joined by name.

    A structure that only some references have is averaged over those. Labels, colours and codes are the first
    task's that has the structure; its working spacing is the geometric mean.

    Raises
    ------
    InputError
        If the tasks come from different models or have no structure in common.
    """
    if not tasks:
        raise InputError("No task is given; encode or choose at least one reference.")
    first = tasks[0]
    for task in tasks[1:]:
        if (task.model, task.version, task.tokens.shape[1:]) != (first.model, first.version, first.tokens.shape[1:]):
            raise InputError(
                f"The tasks come from different models ({first.model} {first.version} and {task.model} "
                f"{task.version}); encode all references with one."
            )
    names = list(dict.fromkeys(name for task in tasks for name in task.names))
    if len(tasks) > 1 and len(names) == sum(len(task.names) for task in tasks):
        raise InputError("The references have no structure name in common; give the same structure the same name.")
    given = np.ones(len(tasks)) if weights is None else np.asarray(weights, dtype=float)
    if given.shape != (len(tasks),) or not (given > 0).all():
        raise InputError("Give one positive weight for each task.")
    tokens, structures, spacing = [], [], []
    used: set[int] = set()
    for name in names:
        having = [(task, task.names.index(name), w) for task, w in zip(tasks, given, strict=True) if name in task.names]
        share = np.array([w for *_, w in having]) / sum(w for *_, w in having)
        tokens.append(sum(s * task.tokens[n] for s, (task, n, _) in zip(share, having, strict=True)))
        spacing.append(float(np.exp(sum(s * np.log(t.spacing[n]) for s, (t, n, _) in zip(share, having, strict=True)))))
        structure = having[0][0].structures[having[0][1]]
        label = structure.label if structure.label not in used else max(used) + 1
        used.add(label)
        structures.append(replace(structure, label=label))
    sources = tuple(dict.fromkeys(source for task in tasks for source in task.sources))
    return TaskEmbedding(np.stack(tokens), tuple(structures), np.array(spacing), first.model, first.version, sources)


def _to_json(structure: Structure) -> dict[str, Any]:
    return {
        "label": structure.label,
        "name": structure.name,
        "color": list(structure.color),
        "terminology": structure.terminology,
    }


def _from_json(item: dict[str, Any]) -> Structure:
    r, g, b = (float(c) for c in item["color"])
    return Structure(int(item["label"]), str(item["name"]), (r, g, b), str(item["terminology"]))


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file: 8 bytes with the header's length, then JSON."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header["__metadata__"]
