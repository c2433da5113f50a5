"""Training Iris (Algorithm 1): reference and query of one dataset, a few of its structures, Dice + cross-entropy."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.losses import DiceLoss
from torch import nn
from torch.nn import functional as F

from dropiris.data.episodes import EpisodeDataset
from dropiris.data.nnunet import Dataset
from dropiris.data.training_scan import EVERYTHING, Asked, TrainingScan, load_scan
from dropiris.data.volume_cache import VolumeCache
from dropiris.errors import InputError
from dropiris.intensity import IntensityRule
from dropiris.models.bundle import Bundle
from dropiris.networks import Iris
from dropiris.networks.views import drop_channels, with_stable_features
from dropiris.train.engine import TrainingRun
from dropiris.train.extractors import build_extractor, frozen_copy
from dropiris.train.iris_config import IrisConfig
from dropiris.train.iris_export import IrisExport
from dropiris.train.memory_bank import MemoryBank
from dropiris.train.optimizers import build_optimizer, build_schedule

RULE = IntensityRule(scale="zscore")


def build_iris(config: IrisConfig, in_channels: int = 1) -> Iris:
    """The network a configuration asks for; ``in_channels`` is 1 and the extractor's, for stable Iris."""
    return Iris(
        in_channels, config.base_width, config.task_channels, config.queries, config.similarity, config.closed_form,
        config.downsamplings,
    )  # fmt: skip


def freeze(network: nn.Module, parts: list[str]) -> None:
    """Leave these parts of a network as they are.

    Raises
    ------
    InputError
        The network has no such part, or nothing would be left to train.
    """
    known = dict(network.named_children())
    for part in parts:
        if part not in known:
            raise InputError(f"frozen: the network has no part {part!r}; its parts are {', '.join(known)}.")
        known[part].requires_grad_(False)
    if not any(p.requires_grad for p in network.parameters()):
        raise InputError("frozen: nothing is left to train; leave a part out.")


class EpisodeLoss(nn.Module):
    """Dice + binary cross-entropy, averaged over the episode's classes (Sec. 3.4).

    Dice is taken over all windows and voxels of a class; a query window without the structure has an empty target and
    only cross-entropy teaches there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dice = DiceLoss(sigmoid=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0)

    def forward(self, logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Logits and soft masks (B, K, D, H, W) to a scalar."""
        dice = self.dice(logits, masks).mean()
        return dice + F.binary_cross_entropy_with_logits(logits, masks)


class Views:
    """What Iris's encoder sees in training: the image; for stable Iris z = [x, s] with whole channels dropped."""

    def __init__(self, config: IrisConfig, extractor: nn.Module | None, run: TrainingRun):
        self.extractor = frozen_copy(extractor, run) if extractor else None
        self.dropout, self.run = config.dropout, run
        self.channels = 1 + (int(extractor.feature_channels) if extractor else 0)  # type: ignore[arg-type]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Standardised windows (B, 1, D, H, W) to (B, channels, D, H, W)."""
        if self.extractor is None:
            return image
        with torch.no_grad():
            z = with_stable_features(image, self.extractor)
        return drop_channels(z, self.dropout, self.run.uniform(self.channels))


def train_iris(config: IrisConfig, run_folder: Path) -> Bundle:
    """Train, validate and write the bundle; an interrupted run in the same folder is continued."""
    loss_of = EpisodeLoss()
    with TrainingRun(config, run_folder) as run:
        extractor = build_extractor(config) if config.is_stable else None
        view = Views(config, extractor, run)
        network = build_iris(config, view.channels)
        with run.first_on_machine():
            cache = VolumeCache(config.cache)
            asked = Asked(config.left_out, config.unions)
            clusters = config.clusters if config.rendered else 0
            scans = [
                load_scans(Dataset.open(folder), cache=cache, asked=asked, clusters=clusters) for folder in config.data
            ]
        episodes = EpisodeDataset(scans, config)
        memory = MemoryBank(episodes.classes, network.tokens, config.task_channels, config.memory).to(run.device)
        export = IrisExport(config, run_folder, extractor, memory)
        freeze(network, config.frozen)
        optimizer = build_optimizer([p for p in network.parameters() if p.requires_grad], config)
        schedule = build_schedule(optimizer, config)
        model = run.prepare(network, optimizer, schedule, clip=1.0, validate=export.score, also={"memory": memory})

        for _, episode in run.batches(episodes):
            reference, query = view(episode.reference), view(episode.query)
            logits, task = model(query, reference, episode.reference_masks, with_task=True)  # D(E(x_q), T(E(x_s), y_s))
            loss = loss_of(logits.float(), episode.query_masks)
            memory.update(task, episode.classes, episode.spacing)  # T_k <- a T_k + (1 - a) T_k_new
            run.step(loss)
        return run.finish(export)


def load_scans(
    dataset: Dataset, split: str = "Tr", cache: VolumeCache | None = None, asked: Asked = EVERYTHING, clusters: int = 0
) -> list[TrainingScan]:
    """A split in memory; datasets that have only an evaluation split (single public cases) give that one."""
    cases = dataset.cases(split) or dataset.cases("Ts")
    if not cases:
        raise InputError(f"{dataset.folder} has no labelled cases; it needs labelsTr (and imagesTr).")
    scans: list[TrainingScan] = []
    known: dict[str, float] = {}
    for case in cases:
        scan = load_scan(case, dataset, RULE, known if len(dataset.structures) > 16 else None, cache, asked, clusters)
        known.update({name: content.spacing for name, content in scan.contents.items()})
        if scan.contents:
            scans.append(scan)
    return scans
