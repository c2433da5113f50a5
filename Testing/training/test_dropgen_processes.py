"""DropGen's own loop in two processes: the losses and the weights of one, with Dice pooled over both."""

import json
import socket

import pytest
import torch
from preloaded import start

from dropiris.models.bundle import Bundle

# float32 sums in another order, over six steps of Adam; a Dice of half a batch would change the first loss by 1e-2.
TOLERANCE = 1e-4
SETTINGS = ["window=[32,32,32]", "spacing=[1,1,2]", "base_width=4", "downsamplings=3", "max_steps=6", "batch_size=2"]
SETTINGS += ["precision=32-true", "accelerator=cpu", "log_every=1", "validation_cases=1", "name=shared", "cache=false"]
pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")


def train(data, run, processes=1):
    """With the environment that torchrun gives each process; torchrun itself is run in test_distribution.py."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    group = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "GROUP_RANK": "0"}
    group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "none"}
    ranks = [{**group, "RANK": str(n), "LOCAL_RANK": str(n)} for n in range(processes)] if processes > 1 else [{}]
    words = ["train", "dropgen", "--data", data, "-o", run, *SETTINGS]
    started = [start("dropiris.cli", *words, **rank) for rank in ranks]
    ended = [process.communicate(timeout=600) for process in started]
    assert all(process.returncode == 0 for process in started), ended[0][1]
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["loss"] for line in lines if "loss" in line], Bundle.open(run / "shared").tensors()


def test_two_processes_train_dropgen_as_one(blob_dataset, tmp_path):
    alone, weights = train(blob_dataset, tmp_path / "one")
    together, shared = train(blob_dataset, tmp_path / "two", processes=2)
    assert len(alone) == 6 and alone == pytest.approx(together, abs=TOLERANCE)
    assert weights.keys() == shared.keys()
    assert all(torch.allclose(weights[name], shared[name], atol=1e-2) for name in weights)
