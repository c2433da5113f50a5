"""Training DropGen, the methods it is compared with and its ablations: one loop, its five lines visible."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from dropiris.data.nnunet import Dataset
from dropiris.data.patches import PatchDataset, intensity_rule, load_patches
from dropiris.data.rendered_patches import RenderedPatches, load_rendered
from dropiris.errors import InputError
from dropiris.models.bundle import Bundle
from dropiris.networks.views import drop_channels, dropgen_input, stable_features
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.dropgen_export import DropGenExport
from dropiris.train.engine import TrainingRun
from dropiris.train.extractors import build_extractor, frozen_copy
from dropiris.train.methods import build_method
from dropiris.train.optimizers import build_optimizer
from dropiris.train.planning import planned
from dropiris.train.schedules import cosine_schedule


def train_dropgen(config: DropGenConfig, run_folder: Path) -> Bundle:
    """Train, validate and write the bundle; an interrupted run in the same folder is continued."""
    if len(config.data) != 1:
        raise InputError("DropGen trains on one dataset; give one --data folder.")
    dataset = Dataset.open(config.data[0]).merge(config.merge)
    config = planned(config, dataset)
    method = build_method(config)
    with TrainingRun(config, run_folder) as run:
        extractor = build_extractor(config) if config.uses_extractor else None
        features_of = frozen_copy(extractor, run) if extractor and config.uses_features else None
        channels = 1 + (int(extractor.feature_channels) if extractor and features_of else 0)  # type: ignore[arg-type]
        predictor = method.network(channels, 1 + len(dataset.structures), extractor)
        predictor.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        with run.first_on_machine():
            patches = training_patches(dataset, config)
        export = DropGenExport(config, run_folder, method, extractor if features_of else None, str(run.device))
        optimizer = build_optimizer(trained(predictor), config)
        schedule = cosine_schedule(optimizer, config)
        model = run.prepare(predictor, optimizer, schedule, clip=5.0, validate=export.score)

        for _, (image, target) in run.batches(patches):
            image, target = method.batch(image, target)  # GIN, GIN+IPA, MixUp, CutOut, DSBN
            with torch.no_grad():
                features = stable_features(features_of, image) if features_of else None  # frozen, contrast-stable
            z = dropgen_input(image, features)  # [x, s]
            if method.dropout:
                z = drop_channels(z, method.dropout, run.uniform(z.shape[1]))  # whole channels, the image's too
            z = method.views(z)  # ablations of the input
            logits = method.forward(model, z.contiguous(memory_format=torch.channels_last_3d), target)
            loss = method.loss(logits, target)
            run.step(loss)
        return run.finish(export)


def training_patches(dataset: Dataset, config: DropGenConfig) -> PatchDataset | RenderedPatches:
    """Crops of the training cases' scans; of label maps without scans, crops that are rendered anew each time."""
    cases = config.training.cases(dataset)
    if cases and all(case.image is None for case in cases):
        return RenderedPatches([load_rendered(case, dataset) for case in cases], config)
    return PatchDataset(load_patches(dataset, config, intensity_rule(config)), config)


def trained(predictor: nn.Module) -> list[nn.Parameter]:
    """Parameters that are not frozen."""
    return [parameter for parameter in predictor.parameters() if parameter.requires_grad]
