"""A batch shared by two processes trains as in one: the same losses, within float32's rounding."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from preloaded import SOURCES, start

TOY = Path(__file__).with_name("toy_run.py")
# Two processes add the same numbers in another order. Over 40 steps of Adam this grew to 1e-7 (measured); a lost row,
# another draw of dropout or statistics of half a batch change the first loss by 1e-2 or more.
TOLERANCE = 1e-5
pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")


def environment():
    return {**os.environ, "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1"}


def losses(out):
    return [float(line.split()[1]) for line in out.splitlines()]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def torchrun(folder, *words, nodes=1, each=2):
    """The processes of every node."""
    port = free_port()
    group = ["--rdzv-backend", "static", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    shape = ["--nnodes", str(nodes), "--nproc-per-node", str(each)]
    launcher = [sys.executable, "-m", "torch.distributed.run", *group, *shape]
    return [
        subprocess.Popen(
            [*launcher, "--node-rank", str(node), str(TOY), str(folder), *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(),
        )
        for node in range(nodes)
    ]  # fmt: skip


def two(folder, *words, script=TOY, **environment):
    """Two processes with the environment that torchrun gives them, without its own."""
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}
    group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), **environment}
    return [start(script, folder, *words, **group, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)]


def finish(started):
    """What the first process printed."""
    ended = [process.communicate(timeout=300) for process in started]
    assert all(process.returncode == 0 for process in started), ended[0][1]
    return ended[0][0]


def together(folder, *words, **environment):
    return losses(finish(two(folder, *words, **environment)))


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """Losses and folder of a run in an interpreter of its own."""
    folder = tmp_path_factory.mktemp("one") / "run"
    command = [sys.executable, TOY, folder, "batch_size=4", "checkpoint_every=20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment())
    assert done.returncode == 0, done.stderr
    return losses(done.stdout), folder


def test_two_processes_train_as_one(tmp_path, one_process):
    expected, folder = one_process
    assert together(tmp_path / "two", "batch_size=4") == pytest.approx(expected, rel=TOLERANCE)
    one, two = (torch.load(run / "last.pt", weights_only=True) for run in (folder, tmp_path / "two"))
    for name, value in one["network"].items():
        assert torch.allclose(value, two["network"][name], rtol=1e-3, atol=1e-5), name
    lines = (tmp_path / "two" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [25, 40], "only the first process may write"


def test_the_gradient_of_a_shared_batch_is_that_of_one_process(tmp_path):
    """3e-13 was measured; statistics or Dice of half a batch, or a gradient of another size, are 1e-2 and more."""
    out = finish(two(tmp_path, script=TOY.with_name("shared_gradient.py")))
    assert float(out.split()[1]) < 1e-10


def test_two_processes_that_share_the_weights_train_as_one(tmp_path, one_process):
    """FSDP; its checkpoint is that of any run, so one process alone goes on from it."""
    expected, folder = one_process
    words = ["batch_size=4", "checkpoint_every=20"]
    both = together(tmp_path / "run", *words, "strategy=fsdp", "max_steps=40")
    assert both == pytest.approx(expected, rel=TOLERANCE)
    one, two = (torch.load(run / "last.pt", weights_only=True) for run in (folder, tmp_path / "run"))
    for part in ("network", "averaged"):
        for name, value in one[part].items():
            assert torch.allclose(value, two[part][name], rtol=1e-3, atol=1e-5), name
    for number, moments in one["optimizer"]["state"].items():
        for name, value in moments.items():
            assert torch.allclose(value, two["optimizer"]["state"][number][name], rtol=1e-3, atol=1e-6), name


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """The folder of a run of one process that was killed after its checkpoint of step 20, and that step."""
    folder = tmp_path_factory.mktemp("half") / "run"
    words = ["batch_size=4", "checkpoint_every=20", "pause=0.05", "log_every=1"]
    process, end = start(TOY, folder, *words), time.monotonic() + 120
    while not (folder / "last.pt").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.wait()
    return folder, torch.load(folder / "last.pt", weights_only=True)["step"]


@pytest.mark.parametrize("strategy", [[], ["strategy=fsdp"]], ids=["copied", "sharded"])
def test_a_run_of_one_process_goes_on_in_two(tmp_path, one_process, half, strategy):
    (folder, first), (expected, _) = half, one_process
    shutil.copytree(folder, tmp_path / "run")
    assert together(tmp_path / "run", "batch_size=4", *strategy) == pytest.approx(expected[first:], rel=TOLERANCE)


def test_two_machines_train_as_one(tmp_path, one_process):
    """Two torchruns that find each other over TCP stand for two machines."""
    expected, _ = one_process
    out = finish(torchrun(tmp_path / "two", "batch_size=4", nodes=2, each=1))
    assert losses(out) == pytest.approx(expected, rel=TOLERANCE)


def test_statistics_of_half_a_batch_would_be_noticed(tmp_path, one_process):
    """The test above can fail: without the shared batch norm the curves part at the first step."""
    expected, _ = one_process
    apart = together(tmp_path / "apart", "batch_size=4", "max_steps=2", TOY_OWN_STATISTICS="1")
    assert abs(apart[0] - expected[0]) > 1e-4 * expected[0]


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    started = two(tmp_path / "run", "batch_size=3")
    ended = [process.communicate(timeout=120) for process in started]
    assert started[0].returncode != 0
    assert "batch_size=3 cannot be shared by 2 processes; give a multiple of 2." in ended[0][1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
def test_both_processes_stop_at_the_same_step_when_one_is_told_to(tmp_path, one_process):
    expected, _ = one_process
    words = ["batch_size=4", "checkpoint_every=1000", "log_every=1"]
    (started,) = torchrun(tmp_path / "run", *words, "pause=0.05")
    end = time.monotonic() + 120
    while not (tmp_path / "run" / "log.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.01)
    started.send_signal(signal.SIGTERM)  # torchrun passes it on to its processes
    started.communicate(timeout=120)
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["step"] % 10 == 0 and 0 < state["step"] < 40
    assert together(tmp_path / "run", *words) == pytest.approx(expected[state["step"] :], rel=TOLERANCE)


def test_slurm_is_asked_how_many_processes_there_are(tmp_path):
    """srun's environment variables, without srun: two tasks on one node, started by hand."""
    port = str(free_port())
    tasks = []
    for rank in range(2):
        slurm = {
            "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost", "SLURM_JOB_NAME": "train",
            "SLURM_JOB_ID": "1", "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1",
        }  # fmt: skip
        tasks.append(start(TOY, tmp_path / "run", "batch_size=4", "max_steps=3", **slurm))
    one = finish([start(TOY, tmp_path / "one", "batch_size=4", "max_steps=3")])
    assert losses(finish(tasks)) == pytest.approx(losses(one), rel=TOLERANCE)
