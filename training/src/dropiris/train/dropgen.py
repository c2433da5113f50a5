"""Training DropGen: the image beside frozen stable features, channels dropped, Dice + cross-entropy."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.losses import DiceCELoss
from torch.nn import functional as F

from dropiris.data.nnunet import Dataset
from dropiris.data.patches import PatchDataset, load_patches
from dropiris.errors import InputError
from dropiris.intensity import IntensityRule
from dropiris.models.bundle import Bundle
from dropiris.networks import UNet
from dropiris.networks.views import stable_features
from dropiris.train.checkpoint import AveragedWeights, load_checkpoint, save_checkpoint
from dropiris.train.config import DropGenConfig
from dropiris.train.engine import RunLog, clip_and_step, cosine_schedule, start_fabric, steps
from dropiris.train.export import export_dropgen
from dropiris.train.extractors import build_extractor


def train_dropgen(config: DropGenConfig, run_folder: Path) -> Bundle:
    """Train, validate and write the bundle; an interrupted run in the same folder is continued."""
    if len(config.data) != 1:
        raise InputError("DropGen trains on one dataset; give one --data folder.")
    run_folder.mkdir(parents=True, exist_ok=True)
    fabric = start_fabric(config)
    torch.manual_seed(config.seed)
    dataset = Dataset.open(config.data[0])
    extractor = build_extractor(config) if config.method == "dropgen" else None
    channels = 1 + (extractor.feature_channels if extractor else 0)
    predictor = UNet(channels, 1 + len(dataset.structures), config.base_width, config.downsamplings)
    optimizer = torch.optim.AdamW(predictor.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = cosine_schedule(optimizer, config)
    averaged = AveragedWeights(predictor, config.ema)
    start = 0
    if checkpoint := load_checkpoint(run_folder):
        predictor.load_state_dict(checkpoint["network"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        schedule.load_state_dict(checkpoint["schedule"])
        averaged.state = checkpoint["averaged"]
        start = checkpoint["step"]
    rule = IntensityRule(scale="unit", ct_window=config.ct_window)
    patches = PatchDataset(load_patches(dataset, config, rule), config)
    model, optimizer = fabric.setup(predictor, optimizer)
    loss_of = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    run_log = RunLog(run_folder)
    predictor.train()

    for step, batch in steps(patches, start, config):
        image, target = fabric.to_device(batch)
        z = image
        if extractor:
            with torch.no_grad():
                features = stable_features(extractor, image)  # frozen, contrast-stable
            z = torch.cat([image, features], dim=1)
            z = F.dropout3d(z, config.dropout)  # drops whole channels, the image too
        logits = model(z)
        loss = loss_of(logits.float(), target)
        fabric.backward(loss)
        clip_and_step(predictor, optimizer, norm=5.0)
        schedule.step()
        averaged.update(predictor, step)
        run_log.step(step, loss.detach(), config.max_steps)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.max_steps:
            save_checkpoint(
                run_folder,
                {
                    "step": step + 1,
                    "network": predictor.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "averaged": averaged.state,
                },
            )
    return export_dropgen(config, run_folder, averaged.state, extractor)
