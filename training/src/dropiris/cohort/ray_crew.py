"""Workers on a Ray cluster: each is a process with a warm model and its share of a GPU, and takes one scan at a time.

Ray is imported here alone. Scans, results and the model must lie on a disk that all machines see under one path.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropiris.cohort.case import FAILED, Case, CaseRecord
from dropiris.cohort.failure import sentence_of
from dropiris.cohort.recipe import Recipe
from dropiris.cohort.station import Station
from dropiris.errors import DeviceError, DropIrisError, InputError

# A worker without a GPU: more threads hardly make one scan faster.
_CORES = 4
# Where Ray keeps a user's token.
_TOKEN = Path("~/.ray/auth_token")


@dataclass(frozen=True)
class RayOptions:
    """How a cluster is used.

    Attributes
    ----------
    address : str or None
        "auto", "host:6379", "ray://host:10001"; None starts Ray on this machine for the time of the run.
    workers : int or None
        None: as many as there are GPUs, or one per four cores.
    gpu_share : float
        Of a GPU per worker; 0.5 puts two on one.
    """

    address: str | None = None
    workers: int | None = None
    gpu_share: float = 1.0


class Worker:
    """The process of a worker; the model is opened with its first case and stays."""

    def __init__(self, recipe: Recipe):
        self._recipe = recipe
        self._station: Station | None = None

    def pid(self) -> int:
        return os.getpid()

    def attempt(self, case: Case) -> CaseRecord | str:
        """The case's record, or why this worker cannot work at all."""
        if self._station is None:
            try:
                self._station = self._recipe.open()
            except Exception as problem:  # another machine may have what is missing here
                return sentence_of(problem)
        return self._station.attempt(case, self._recipe.digest)


class RayCrew:
    """A crew of Ray actors. A worker that dies is replaced; one that cannot open the model is dismissed.

    Attributes
    ----------
    dismissed : list of str
        Why workers were.
    """

    def __init__(self, recipe: Recipe, options: RayOptions, cases: int, on_gpu: bool = True):
        self._ray = ray = import_ray()
        join(ray, options)
        resources = ray.cluster_resources()
        self.size, cores, share = shape(resources, options, cases, on_gpu)
        # OMP_NUM_THREADS: Ray sets it to num_cpus unless the machine already has it.
        self._actor = ray.remote(Worker).options(num_cpus=cores, num_gpus=share, max_restarts=0)
        self._recipe = ray.put(recipe)
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Any, Case]] = {}
        self._held: deque[Case] = deque()  # of dismissed workers
        self.dismissed: list[str] = []
        self._deaths = 0  # since the last worker that came back

    @property
    def busy(self) -> int:
        return len(self._running) + len(self._held)

    def start(self, case: Case) -> None:
        actor = self._idle.pop() if self._idle else self._actor.remote(self._recipe)
        self._running[actor.attempt.remote(case)] = (actor, case)

    def next(self) -> tuple[Case, CaseRecord]:
        while True:
            while self._held and len(self._running) < self.size:
                self.start(self._held.popleft())
            (ended, *_), _rest = self._ray.wait(list(self._running), num_returns=1)
            actor, case = self._running.pop(ended)
            try:
                said = self._ray.get(ended)
            except self._ray.exceptions.RayError as problem:
                self._deaths += 1
                if self._deaths > 3 * self.size:
                    raise DeviceError(
                        f"Workers die one after the other: {' '.join(str(problem).split())[:300]}"
                    ) from None
                return case, CaseRecord.of(case, FAILED, error=_death(problem), temporary=True)
            self._deaths = 0
            if isinstance(said, CaseRecord):
                self._idle.append(actor)
                return case, said
            self._dismiss(actor, case, said)

    def close(self) -> None:
        for actor in [*self._idle, *(actor for actor, _ in self._running.values())]:
            self._ray.kill(actor)
        self._idle.clear()
        self._running.clear()
        self._ray.shutdown()

    def pids(self) -> list[int]:
        """Process of every idle worker, for whoever looks after them."""
        return [int(pid) for pid in self._ray.get([actor.pid.remote() for actor in self._idle])]

    def _dismiss(self, actor: Any, case: Case, why: str) -> None:
        self._ray.kill(actor)
        self.dismissed.append(why)
        self.size -= 1
        if self.size == 0:
            raise DeviceError(f"No worker can segment: {why}")
        self._held.append(case)


def import_ray() -> Any:
    """Ray, or one sentence; it reports nothing to anyone unless the user switched that on."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # `ray start` asks for a token where the user has one, but whoever joins has to be told to show it. Ray reads this
    # when it is imported.
    has_token = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ or _TOKEN.expanduser().is_file()
    if has_token and "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise InputError("--engine ray needs Ray, which is not installed; run `pip install dropiris[ray]`.") from None
    return ray


def join(ray: Any, options: RayOptions) -> None:
    """Connect to the cluster, or start Ray on this machine."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if options.address:
            ray.init(address=options.address, **quiet)
        else:
            cores = max(os.cpu_count() or 1, options.workers or 1)
            # Cases and records are small: the default would take a third of the memory.
            ray.init(address="local", num_cpus=cores, include_dashboard=False, object_store_memory=2**27, **quiet)
    except DropIrisError:
        raise
    except Exception as problem:  # Ray has many: no such host, another version, no room for its files
        why = " ".join(str(problem).split())[:300]
        if options.address:
            raise InputError(
                f"The Ray cluster at {options.address} cannot be used ({why}); check its address with `ray status`."
            ) from None
        raise InputError(
            f"Ray cannot start on this machine ({why}); leave --engine ray out, or try again when it is less busy."
        ) from None


def shape(resources: dict[str, float], options: RayOptions, cases: int, on_gpu: bool) -> tuple[int, float, float]:
    """(workers, cores of each, GPU share of each), never more workers than cases.

    Raises
    ------
    InputError
        The cluster has no room for a single one.
    """
    gpus, cores = resources.get("GPU", 0.0), resources.get("CPU", 0.0)
    share = options.gpu_share if on_gpu and gpus else 0.0
    if share:
        room = int(gpus / share + 1e-6)
        each = 1.0
    else:
        each = float(min(_CORES, max(1, int(cores // (options.workers or max(1, cores // _CORES))))))
        room = int(cores // each)
    workers = min(options.workers or room, cases, room)
    if workers < 1:
        raise InputError(f"The Ray cluster has {cores:g} cores and {gpus:g} GPUs, too little for one worker; add some.")
    return workers, each, share


def _death(problem: Exception) -> str:
    # What its start-up raised stands in the last line: another version of dropiris on its machine, say.
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    if "creation task" in str(problem) and lines:
        return f"The worker could not start ({lines[-1][:300]}); check its machine."
    return f"The worker died on this scan ({type(problem).__name__}): killed, out of memory, or its machine went away."
