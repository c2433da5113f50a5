"""A bundle: one folder with ``model.json``, ``weights.safetensors`` and, optionally, pictures.

Pictures are ``thumbnail.png`` and those of the card's known failures; without them a model is as good.

Opening and checking one needs no torch, so panels can validate a model inside Slicer.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropiris.errors import ModelError
from dropiris.models.card import ModelCard
from dropiris.models.weights_header import read_weights_header

if TYPE_CHECKING:
    import torch

CARD = "model.json"
WEIGHTS = "weights.safetensors"
THUMBNAIL = "thumbnail.png"
# What the tensors of a method are called.
PREFIX = {"dropgen": "predictor.", "iris": "iris.", "extractor": "extractor."}
_PNG = b"\x89PNG\r\n\x1a\n"
# 65504 is the largest float16: a weight beyond it would load as infinity.
_LARGEST_HALF = 65504.0
# A file is hashed once per process: 70 MB take 0.2 s, and panels open the same bundle on every click.
_verified: set[tuple[str, int, int, str]] = set()


@dataclass(frozen=True)
class Bundle:
    """A checked model folder.

    Attributes
    ----------
    folder : Path
        Absolute.
    card : ModelCard
    """

    folder: Path
    card: ModelCard

    @classmethod
    def open(cls, folder: str | os.PathLike[str], digests: bool = True) -> Bundle:
        """Check the card, the weights' header and (unless ``digests`` is False) the listed SHA-256 digests.

        Features that a model shares are another bundle: :func:`dropiris.models.shared_features.find_features`.

        Raises
        ------
        ModelError
            Saying which file is wrong and what to do.
        """
        folder = Path(folder).absolute()
        card = read_card(folder)
        tensors, _ = read_weights_header(folder / WEIGHTS)
        prefix, features = PREFIX[card.method], PREFIX["extractor"]
        if not any(name.startswith(prefix) for name in tensors):
            raise ModelError(f"{folder / WEIGHTS} holds no {prefix}* tensors; it belongs to another kind of model.")
        if (card.extractor or {}).get("bundle") and any(name.startswith(features) for name in tensors):
            raise ModelError(f"{folder / WEIGHTS} holds features that its card says it shares; export the model again.")
        if digests:
            for name, digest in card.sha256.items():
                if (folder / name).is_file() or not name.endswith(".png"):
                    check_digest(folder, name, digest)
        return cls(folder, card)

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS

    @property
    def thumbnail(self) -> Path | None:
        path = self.folder / THUMBNAIL
        return path if path.is_file() else None

    def picture(self, failure: Mapping[str, Any]) -> Path | None:
        """The picture of one of the card's ``failures``; None where it has none, or it is not here."""
        path = self.folder / failure["picture"] if "picture" in failure else None
        return path if path is not None and path.is_file() else None

    def others(self) -> dict[str, bytes]:
        """What lies beside card and weights (pictures, a licence), for :func:`write_bundle`; no hidden files."""
        files = [path for path in sorted(self.folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
        return {path.name: path.read_bytes() for path in files if path.name not in (CARD, WEIGHTS)}

    @property
    def size(self) -> int:
        """Bytes on disk, without those of shared features."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())

    @property
    def parameters(self) -> int:
        """Numbers stored in the weights (buffers included)."""
        return sum(info.numbers for info in read_weights_header(self.weights)[0].values())

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors on the CPU; half precision is widened to float32."""
        import torch
        from safetensors.torch import load

        try:
            # Read, not mapped: a mapped file cannot be replaced or removed on Windows.
            loaded = load(self.weights.read_bytes())
        except Exception as problem:
            raise ModelError(f"{self.weights} cannot be loaded ({problem}); export the model again.") from problem
        half = (torch.float16, torch.bfloat16)
        return {name: value.float() if value.dtype in half else value for name, value in loaded.items()}


def read_card(folder: Path) -> ModelCard:
    """The card of a bundle folder."""
    path = folder / CARD
    if not folder.is_dir():
        raise ModelError(f"There is no model folder {folder}; check the path.")
    try:
        return ModelCard.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ModelError(f"{folder} is no model: it has no {CARD}; choose the folder that holds one.") from None
    except OSError as problem:
        raise ModelError(f"{path} cannot be read ({problem.strerror}); check its permissions.") from None
    except ValueError:
        raise ModelError(f"{path} is not valid JSON; copy, download or export the model again.") from None
    except ModelError as problem:
        raise ModelError(f"{path}: {problem}") from None


def change_card(folder: Path, **changes: Any) -> ModelCard:
    """Replace fields of a bundle's card, which is whole or as it was; the weights stay as they are."""
    card = replace(read_card(folder), **changes)
    part = folder / f".{CARD}.part"
    part.write_text(json.dumps(card.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(folder / CARD)
    return card


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def check_digest(folder: Path, name: str, digest: str, again: bool = False) -> None:
    """Compare one listed file with its SHA-256; ``again`` reads it even if this process did before."""
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise ModelError(f"{folder} lists {name!r}, which is not in it; copy, download or export the model again.")
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns, digest)
    if key in _verified and not again:
        return
    if sha256_of(path) != digest:
        raise ModelError(f"{path} does not match its SHA-256; it is damaged: copy, download or export it again.")
    _verified.add(key)


def write_bundle(
    folder: str | os.PathLike[str],
    card: ModelCard,
    tensors: Mapping[str, torch.Tensor],
    thumbnail: bytes | None = None,
    half: bool = True,
    also: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle in one step: it is complete under its name or not there at all.

    ``half`` stores matrices as float16; vectors (biases, norms, running statistics) stay float32, which costs
    nothing and keeps small variances. ``also`` are further files, such as a licence or pictures of failures. An older
    bundle in ``folder`` is replaced with all its files: see :meth:`Bundle.others`.
    """
    import torch
    from safetensors.torch import save

    folder = Path(folder).absolute()
    if folder.exists() and not (folder.is_dir() and ((folder / CARD).is_file() or not any(folder.iterdir()))):
        raise ModelError(f"{folder} exists and is no model; choose another place for the model.")
    if thumbnail is not None and not thumbnail.startswith(_PNG):
        raise ModelError("The thumbnail is not a PNG image; give PNG bytes.")
    stored = {name: _stored(name, value, half) for name, value in tensors.items()}
    work = new_folder_beside(folder, "writing")
    try:
        # One key: safetensors writes several in any order, and models name shared features by this file's digest.
        # Written here: safetensors' own save_file makes a file that only its owner may read.
        (work / WEIGHTS).write_bytes(save(stored, metadata={"format": "pt"}))
        for name, data in {**({} if thumbnail is None else {THUMBNAIL: thumbnail}), **(also or {})}.items():
            (work / name).write_bytes(data)
        listed = {path.name: sha256_of(path) for path in sorted(work.iterdir())}
        metadata = {"pytorch_version": torch.__version__.partition("+")[0], **card.metadata}
        content = json.dumps(replace(card, sha256=listed, metadata=metadata).to_json(), indent=2, ensure_ascii=False)
        (work / CARD).write_text(content + "\n", encoding="utf-8")
        Bundle.open(work)
        put_in_place(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Bundle.open(folder)


def _stored(name: str, value: torch.Tensor, half: bool) -> Any:
    import torch

    value = value.detach().cpu()
    if value.is_floating_point():
        if not torch.isfinite(value).all():
            raise ModelError(f"The tensor {name} holds NaN or infinity; the training diverged: use an earlier state.")
        narrow = half and value.ndim > 1 and float(value.abs().amax() if value.numel() else 0) <= _LARGEST_HALF
        value = value.to(torch.float16 if narrow else torch.float32)
    return value.clone(memory_format=torch.contiguous_format)


def new_folder_beside(folder: Path, purpose: str) -> Path:
    """A new hidden folder on the same disk, so that a rename is one step.

    Not ``mkdtemp``: its 0700 would lock other readers of a shared model folder out.
    """
    work = folder.parent / f".{purpose}-{uuid.uuid4().hex[:12]}"
    work.mkdir(parents=True)
    return work


def put_in_place(work: Path, folder: Path) -> None:
    """Rename ``work`` to ``folder``; what was there is kept until the new one stands, then deleted."""
    if not folder.exists():
        work.rename(folder)
        return
    old = new_folder_beside(folder, "replaced")
    try:
        folder.rename(old / "bundle")
        try:
            work.rename(folder)
        except OSError:
            (old / "bundle").rename(folder)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
