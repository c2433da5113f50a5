"""Pretraining a stable extractor (anatomix, Dey et al., ICLR 2025): two renderings of a label map, one description."""

from __future__ import annotations

from pathlib import Path

import torch

from dropiris.data.label_maps import LabelledPairs, Pose, load_label_maps
from dropiris.data.nnunet import Dataset
from dropiris.data.shapes import Ensemble
from dropiris.errors import InputError
from dropiris.evaluate.representations import linear_cka, linear_probe
from dropiris.models.bundle import Bundle
from dropiris.networks import AnatomixUNet
from dropiris.networks.views import stable_features
from dropiris.train.contrastive import contrastive_loss, labels_at, sample_voxels
from dropiris.train.engine import TrainingRun, Weights
from dropiris.train.extractor_config import ExtractorConfig
from dropiris.train.extractor_export import export_extractor, extractor_weights
from dropiris.train.optimizers import build_optimizer
from dropiris.train.schedules import cosine_schedule
from dropiris.train.structure_naming import NamingAnatomix, naming_loss, outline_loss


def train_extractor(config: ExtractorConfig, run_folder: Path) -> Bundle:
    """Pretrain and write the bundle ``<name>``, which DropGen and stable Iris take as ``extractor=FOLDER``."""
    with TrainingRun(config, run_folder) as run:
        datasets = [Dataset.open(folder) for folder in config.data]
        pairs = labelled_pairs(config, datasets)
        if (config.naming or config.outlining) and len(pairs.names) == 1:
            raise InputError(
                "names need label maps of at least 8 labels; give them as --data, or naming=0 outlining=0."
            )
        network = NamingAnatomix(
            config.levels, len(pairs.names), config.projection, config.naming, config.outlining > 0
        )
        optimizer = build_optimizer([p for p in network.parameters() if p.requires_grad], config)
        probe = Probe(config, datasets)
        schedule = cosine_schedule(optimizer, config)
        model = run.prepare(network, optimizer, schedule, clip=2.0, validate=lambda weights: probe(weights)["probe"])

        contrastive = config.naming < 1
        for _, batch in run.batches(pairs):
            labels, images, names, possible = pairs.made(batch, run.device)
            images = images.transpose(0, 1).flatten(0, 1)[:, None]  # one label map, two unrelated contrasts
            maps = names if config.naming == 1 else labels
            at_levels = [labels_at(maps, max(1, level)) for level in config.levels]
            count = max(config.voxels, config.named_voxels if config.naming else 0)
            voxels = [sample_voxels(own, count, config.balanced) for own in at_levels]
            features, logits, outlines = model(images, voxels, config.voxels, possible)
            loss = torch.zeros((), device=run.device)
            if contrastive:
                theirs = [
                    own.gather(1, where[:, : config.voxels]) for own, where in zip(at_levels, voxels, strict=True)
                ]
                loss = loss + (1 - config.naming) * contrastive_loss(features, theirs, config.temperature)
            if config.naming:
                called = [labels_at(names, max(1, level)) for level in config.levels]
                called = [own.gather(1, where) for own, where in zip(called, voxels, strict=True)]
                loss = loss + config.naming * naming_loss(logits, called, possible, config.levels)
            if config.outlining:
                loss = loss + config.outlining * outline_loss(outlines, names, possible)
            run.step(loss)
        weights = run.weights()
        if run.fabric.is_global_zero:
            export_extractor(config, run_folder, weights, datasets, probe(weights))
        run.fabric.barrier()
    return Bundle.open(run_folder / config.name)


def labelled_pairs(config: ExtractorConfig, datasets: list[Dataset], split: str = "Tr", seed: int = 0) -> LabelledPairs:
    """The pairs of a split; ``seed`` other than 0 for pairs that training never sees."""
    return LabelledPairs(
        load_label_maps(datasets, split, config.clusters, config.without),
        config.window,
        config.seed + seed,
        config.windows,
        Ensemble(shapes=config.shapes, templates=config.templates),
        on_device=config.synthesis == "device" and split == "Tr",
        stripped=config.stripped,
        weights=config.weights or None,
        pose=Pose(config.finest, config.coarsest, config.rotation, config.upright, config.centring),
        random_share=config.random_share,
        views=2 if config.naming < 1 or split != "Tr" else 1,
    )


class Probe:
    """Scores of weights on unseen pairs: linear probe between contrasts, CKA, and the same of raw intensities.

    Label maps come from the datasets' validation split where there is one; shapes are drawn from another seed.
    """

    def __init__(self, config: ExtractorConfig, datasets: list[Dataset]):
        self.config = config
        pairs = labelled_pairs(config, datasets, "Val", 1_000_003)
        self.pairs = [pairs.pair(n, 0) for n in range(config.validation_pairs)]

    @torch.no_grad()
    def __call__(self, weights: Weights) -> dict[str, float]:
        network = AnatomixUNet(layer=self.config.extractor_layer)
        network.load_state_dict(extractor_weights(weights))
        network.eval()
        found: dict[str, list[float]] = {"probe": [], "cka": [], "probe_raw": [], "cka_raw": []}
        for labels, images, *_ in self.pairs:
            draws = torch.Generator().manual_seed(0)
            flat = labels.flatten().long()
            # fitted on half of the voxels in one contrast, tested on the others in the other contrast
            where = torch.multinomial(1.0 / torch.bincount(flat).float()[flat], 4000, generator=draws)
            fit, test = where.chunk(2)
            features = [stable_features(network, image[None, None])[0].flatten(1).T for image in images]
            raw = [image.flatten()[:, None] for image in images]
            for name, (one, two) in {"": features, "_raw": raw}.items():
                found[f"probe{name}"].append(linear_probe(one[fit], flat[fit], two[test], flat[test]))
                found[f"cka{name}"].append(linear_cka(one[where], two[where]))
        return {name: round(sum(values) / len(values), 4) for name, values in found.items()}
