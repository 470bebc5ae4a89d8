"""Commands in processes of their own that start at once: a server that has imported everything forks them."""

import multiprocessing
import os
import resource

from .conftest import call

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.preloaded"])


def start(command, cwd):
    """Start a command; returns its process, and a connection that receives its result and its memory in bytes.

    That is what it had when it began, and its peak.
    """
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_run, args=([*map(str, command)], str(cwd), sender))
    process.start()
    sender.close()
    return process, receiver


def _run(command, cwd, connection):
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    before = _peak()
    result = call(*command, cwd=cwd)
    connection.send((result, before, _peak()))


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
