"""The processes of a run on several devices: how those on CPUs are started, and how they end.

nerfstudio's launcher starts them for CUDA devices, and refuses all others. For CPUs it is therefore asked for one
process only, which starts the others itself and is the first of the machine's.
"""

import os
import pickle
import random
import signal
import socket
import sys
import warnings
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing import parent_process
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing

if TYPE_CHECKING:
    from nerfstudio.configs.base_config import MachineConfig

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others, which may be measuring or waiting for the first one to do so."""
SECONDS_PER_LOOK = 0.5
"""How often it is looked whether the processes that are starting still live."""


def start_processes(config: Any, machine: "MachineConfig") -> list[SpawnProcess]:
    """Start the other processes of this machine, and join their group as the first of them.

    Args:
        config: the config of the run, with which each process builds a trainer of its own.
        machine: the numbers of processes and machines.

    Raises:
        SystemExit: a process has ended before it could join.
    """
    url = f"tcp://127.0.0.1:{_find_free_port()}" if machine.dist_url == "auto" else machine.dist_url
    context = torch.multiprocessing.get_context("spawn")
    ready, stored = context.Semaphore(0), pickle.dumps(config)
    torch.set_num_threads(max(1, torch.get_num_threads() // machine.num_devices))
    threads, processes = torch.get_num_threads(), []
    for local_rank in range(1, machine.num_devices):
        arguments = (stored, machine, local_rank, url, threads, ready)
        processes.append(context.Process(target=_run_process, args=arguments, daemon=True))
        processes[-1].start()
    for _ in processes:
        while not ready.acquire(timeout=SECONDS_PER_LOOK):
            exit_if_lost(processes)
    _join_group(machine, 0, url)
    return processes


def exit_if_lost(processes: Sequence[SpawnProcess], seconds: float = 0.0) -> None:
    """End the program with one line and status 1 if one of the other processes has failed.

    Args:
        processes: the processes that this one has started.
        seconds: how long each may take to end.
    """
    for local_rank, process in enumerate(processes, 1):
        process.join(seconds)
        if process.exitcode:
            raise SystemExit(
                f"error: process {local_rank} of the run has ended with status {process.exitcode}; what was saved"
                " before is kept, and --load-dir resumes it"
            )


def end_processes(processes: Sequence[SpawnProcess], seconds: float) -> None:
    """Leave the group of processes, and end those that this one has started.

    Args:
        processes: the processes.
        seconds: how long each may take to end by itself.
    """
    for process in processes:
        process.join(seconds)
        process.terminate()
        process.join()
    dist.destroy_process_group()


def seed_everything(seed: int) -> None:
    """Give all processes the same random numbers; nerfstudio's launcher gives each its own."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def _run_process(stored: bytes, machine: "MachineConfig", local_rank: int, url: str, threads: int, ready: Any) -> None:
    """Train in one of the other processes, which says nothing: the first one says what there is to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    config = pickle.loads(stored)
    ready.release()
    _join_group(machine, local_rank, url)
    try:
        trainer = config.setup(local_rank=local_rank)
        trainer.setup()
        trainer.train()
    except SystemExit:
        sys.exit(1)
    except RuntimeError:
        parent = parent_process()
        if parent is None or parent.is_alive():
            raise
        os._exit(1)  # the first process was killed, and closed its connections


def _join_group(machine: "MachineConfig", local_rank: int, url: str) -> None:
    """Join the group of all processes of all machines."""
    world_size = machine.num_devices * machine.num_machines
    rank = machine.machine_rank * machine.num_devices + local_rank
    dist.init_process_group("gloo", init_method=url, world_size=world_size, rank=rank, timeout=TIMEOUT)


def _find_free_port() -> int:
    """Return a port of this machine that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
