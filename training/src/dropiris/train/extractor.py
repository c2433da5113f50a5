"""Pretraining a stable extractor (anatomix, Dey et al., ICLR 2025): two renderings of a label map, one description."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save

from dropiris import __version__
from dropiris.data.label_maps import LabelledPairs, load_label_maps
from dropiris.data.nnunet import Dataset
from dropiris.data.shapes import Ensemble
from dropiris.evaluate.representations import linear_cka, linear_probe
from dropiris.networks import AnatomixUNet
from dropiris.networks.views import stable_features
from dropiris.train.contrastive import contrastive_loss, labels_at, sample_voxels
from dropiris.train.engine import TrainingRun, Weights
from dropiris.train.extractor_config import ExtractorConfig
from dropiris.train.schedules import cosine_schedule
from dropiris.train.structure_naming import NamingAnatomix, naming_loss

_OWN = "model."  # what a run's weights call the extractor's; projections have another name


def train_extractor(config: ExtractorConfig, run_folder: Path) -> Path:
    """Pretrain and write ``<name>.safetensors``, which DropGen takes as ``extractor=FILE``, and its card beside it."""
    with TrainingRun(config, run_folder) as run:
        datasets = [Dataset.open(folder) for folder in config.data]
        pairs = labelled_pairs(config, datasets)
        network = NamingAnatomix(config.levels, len(pairs.names), config.projection)
        optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        probe = Probe(config, datasets)
        schedule = cosine_schedule(optimizer, config)
        model = run.prepare(network, optimizer, schedule, clip=2.0, validate=lambda weights: probe(weights)["probe"])

        count = max(config.voxels, config.named_voxels if config.naming else 0)
        for _, batch in run.batches(pairs):
            # one label map, two unrelated contrasts
            labels, first, second, names, possible = pairs.made(batch, run.device)
            at_levels = [labels_at(labels, max(1, level)) for level in config.levels]
            voxels = [sample_voxels(own, count, config.balanced) for own in at_levels]
            features, logits = model(torch.cat([first, second]), voxels, config.voxels)
            theirs = [own.gather(1, where) for own, where in zip(at_levels, voxels, strict=True)]
            called = [labels_at(names, max(1, level)) for level in config.levels]
            called = [own.gather(1, where) for own, where in zip(called, voxels, strict=True)]
            alike = contrastive_loss(features, [own[:, : config.voxels] for own in theirs], config.temperature)
            run.step((1 - config.naming) * alike + config.naming * naming_loss(logits, called, possible))
        weights = run.weights()
        if run.fabric.is_global_zero:
            export_extractor(config, run_folder, weights, datasets, probe(weights))
        run.fabric.barrier()
    return run_folder / f"{config.name}.safetensors"


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
        coarsest=config.coarsest,
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
        for labels, *images in (pair[:3] for pair in self.pairs):
            draws = torch.Generator().manual_seed(0)
            flat = labels.flatten().long()
            # fitted on half of the voxels in one contrast, tested on the others in the other contrast
            where = torch.multinomial(1.0 / torch.bincount(flat).float()[flat], 4000, generator=draws)
            fit, test = where.chunk(2)
            features = [stable_features(network, image[None])[0].flatten(1).T for image in images]
            raw = [image.flatten()[:, None] for image in images]
            for name, (one, two) in {"": features, "_raw": raw}.items():
                found[f"probe{name}"].append(linear_probe(one[fit], flat[fit], two[test], flat[test]))
                found[f"cka{name}"].append(linear_cka(one[where], two[where]))
        return {name: round(sum(values) / len(values), 4) for name, values in found.items()}


def extractor_weights(weights: Weights) -> Weights:
    """The extractor's own weights of a run's; projections are left behind."""
    return {name: value for name, value in weights.items() if name.startswith(_OWN)}


def export_extractor(
    config: ExtractorConfig, run_folder: Path, weights: Weights, datasets: list[Dataset], scores: dict[str, float]
) -> Path:
    """Write the weights (float16 matrices) and a JSON card that says what they were made from."""
    sources = {d.name: {"licence": d.licence, "modality": d.modality, "source": d.source} for d in datasets}
    settings = config.model_dump(mode="json", exclude={"data", "card", "structures", "name", "title", "accelerator"})
    card = {
        "name": config.name,
        "version": config.version,
        "title": config.title or config.name,
        **config.card,
        "network": {"name": "AnatomixUNet", "layer": config.extractor_layer},
        "training": {"datasets": sources, "settings": settings, "dropiris": __version__},
        "scores": scores,
    }
    path = run_folder / f"{config.name}.safetensors"
    own = extractor_weights(weights)
    half = {k: (v.half() if v.is_floating_point() and v.ndim > 1 else v).cpu().contiguous() for k, v in own.items()}
    temporary = path.with_suffix(".part")
    # bytes of our own: safetensors' save_file makes a file that only its owner may read
    temporary.write_bytes(save(half, metadata={"format": "pt", "name": config.name, "version": config.version}))
    os.replace(temporary, path)
    temporary.write_text(json.dumps(card, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    os.replace(temporary, path.with_suffix(".json"))
    return path
