"""The batch files, run by bash with stand-ins for SLURM's commands and for the training; SLURM itself was not seen.

That a real training ends with 75 after SIGTERM, and goes on, is tested in Testing/training.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "training" / "configs" / "slurm"
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(sys.platform == "win32" or BASH is None, reason="batch files are for bash on Linux")

# Starts one task in a process group of its own and hands the signal on, as srun does.
SRUN = """#!{bash}
echo "srun $*" >> "$CALLS"
shift
set -m
trap 'kill -TERM $task' TERM
"$@" & task=$!
wait $task; code=$?
while [ $code -gt 128 ]; do wait $task; code=$?; done
exit $code
"""
# Waits for SIGTERM and ends as a preempted training does, or ends at once with the given code.
TRAINING = """#!{bash}
echo "dropiris $*" >> "$CALLS"
[ -n "$END_WITH" ] && exit "$END_WITH"
trap 'exit 75' TERM
echo waiting >> "$CALLS"
while :; do sleep 0.05; done
"""
SCONTROL = """#!{bash}
echo "scontrol $*" >> "$CALLS"
"""


@pytest.fixture
def submit(tmp_path):
    for name, text in (("srun", SRUN), ("dropiris", TRAINING), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text.format(bash=BASH))
        (tmp_path / name).chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()

    def start(end_with=""):
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "CALLS": str(calls), "END_WITH": end_with, "SLURM_JOB_ID": "17"}
        words = ["dropgen", "--data", "a folder", "-o", "run"]
        return subprocess.Popen(
            [BASH, FOLDER / "train.sbatch", *words], env=environment, stderr=subprocess.PIPE, start_new_session=True
        )

    return start, calls


def test_a_preempted_job_asks_to_be_started_again(submit):
    """SIGTERM reaches the batch shell and its tasks, as with --signal=B: or at a preemption."""
    start, calls = submit
    job, end = start(), time.monotonic() + 60
    while "waiting" not in calls.read_text() and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait(60) == 75
    assert "scontrol requeue 17" in calls.read_text().splitlines()
    assert "dropiris train dropgen --data a folder -o run" in calls.read_text().splitlines()


@pytest.mark.parametrize("code", ["0", "1"])
def test_a_job_that_is_done_or_has_failed_does_not(submit, code):
    start, calls = submit
    assert start(code).wait(60) == int(code)
    assert "scontrol" not in calls.read_text()


@pytest.mark.parametrize("name", ["train.sbatch", "cohort.sbatch"])
def test_the_batch_files_are_valid_bash(name):
    subprocess.run([BASH, "-n", FOLDER / name], check=True)
