"""Other workers than this process: what they do is the same to the bit, also if one of them is lost."""

import contextlib
import os
import signal as signals
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from winner_nerfstudio import fit_many
from winner_nerfstudio.batch import many
from winner_nerfstudio.fields.file import FieldFileError
from winner_nerfstudio.training import engine, groups
from winner_nerfstudio.training.groups import fit_groups

from .conftest import BIN
from .test_batch import QUICK, contents, without_times, write_crops

PARTS = {**QUICK, "parts": (3, 3), "group_samples": 500, "overlap": 2}
STOPPED = "interrupted: what was finished is kept; the same command goes on"


def free_ports():
    """Ports for a node of Ray, which waits no more than 15 s for its agents to choose their own (Ray's issue 65983)."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind(("", 0))
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}


ATTEMPTS = 3
"""How often a cluster is started before it is given up; Ray gives each of its programs half a minute."""
LEAN = {"num_cpus": 1, "include_log_monitor": False, "no_monitor": True}
"""Options of a node without programs that nothing here asks for, and that take seconds to start."""


def start_cluster():
    """Start a cluster of Ray with two nodes on this machine, which other tests may make too slow for Ray's patience."""
    from ray._private.node import Node
    from ray._raylet import DASHBOARD_AGENT_LISTEN_PORT_NAME, persist_port
    from ray.cluster_utils import Cluster

    start_raylet = Node.start_raylet

    def start_with_port(node, *arguments, **options):
        # Ray tells its program all ports but this one, for which that would wait until the agent has started.
        port = node.dashboard_agent_listen_port
        persist_port(node.get_session_dir_path(), node.node_id, DASHBOARD_AGENT_LISTEN_PORT_NAME, port)
        return start_raylet(node, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Node, "start_raylet", start_with_port)
        patch.setenv("RAY_gcs_server_port_wait_time_s", "120")
        for attempt in range(ATTEMPTS):
            made, others = Cluster(), set(list_descendants(os.getpid()))
            try:
                made.add_node(**LEAN, include_dashboard=False, **free_ports())
                return made, made.add_node(**LEAN, **free_ports())
            except Exception:
                made.shutdown()
                for each in set(list_descendants(os.getpid())) - others:  # what a node leaves that did not start
                    with contextlib.suppress(OSError):
                        os.kill(each, signals.SIGKILL)
                if attempt == ATTEMPTS - 1:
                    raise
    raise AssertionError


@pytest.fixture(scope="module")
def cluster():
    """A cluster of Ray with two nodes on this machine, and its second node."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'winner-nerfstudio[ray]'")
    made, second = start_cluster()
    try:
        ray.init(address=made.address, log_to_driver=False)
        yield made, second
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def signal(tmp_path):
    """The file of a signal in groups, and its fit by this process."""
    np.save(tmp_path / "large.npy", np.random.default_rng(0).random((60, 50)).astype(np.float32))
    fit_groups(tmp_path / "large.npy", tmp_path / "here", **PARTS)
    return tmp_path / "large.npy"


def assert_same_groups(one, other):
    names = sorted(path.name for path in one.iterdir())
    assert len(names) > 3
    assert names == sorted(path.name for path in other.iterdir())
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.commands
def test_the_groups_of_a_signal_are_the_same_bits_by_workers_of_ray(cluster, signal, tmp_path):
    fit_groups(signal, tmp_path / "there", engine=f"ray://{cluster[0].address}", **PARTS)
    assert_same_groups(tmp_path / "here", tmp_path / "there")


@pytest.mark.commands
def test_a_cluster_that_loses_a_node_ends_with_the_same_bits(cluster, tmp_path, monkeypatch):
    for size in range(12, 20):  # a bank of each size
        write_crops(tmp_path / "crops" / str(size), 3, size, size)
    crops = [tmp_path / "crops" / str(size) for size in range(12, 20)]
    longer = {**QUICK, "steps": 60, "seed": 5}
    fit_many(crops, tmp_path / "here", **longer)
    lost = []

    def lose(finished):
        if not lost:
            cluster[0].remove_node(cluster[1], allow_graceful=False)
            lost.append(finished)

    monkeypatch.setattr("winner_nerfstudio.batch.plan.MOST_MEMBERS", 2)
    add = many.BatchProgress.add
    monkeypatch.setattr(many.BatchProgress, "add", lambda self, rows: (lose(rows), add(self, rows)))
    fit_many(crops, tmp_path / "there", engine=f"ray://{cluster[0].address}", **longer)
    assert lost
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert without_times(tmp_path / "there") == without_times(tmp_path / "here")


@pytest.mark.commands
def test_the_groups_of_a_signal_are_the_same_bits_by_processes(signal, tmp_path):
    fit_groups(signal, tmp_path / "there", engine="processes", **PARTS)
    assert_same_groups(tmp_path / "here", tmp_path / "there")


@pytest.mark.commands
@pytest.mark.parametrize(
    ("work", "line"),
    [
        ("raise ValueError('the fault of a task')", "^the fault of a task$"),
        ("import os; os._exit(9)", "engine=processes: a process has ended"),
    ],
)
def test_an_error_of_a_task_or_a_process_that_dies_is_told_and_ends_the_processes(work, line, capfd):
    with pytest.raises(ValueError, match=line), engine.Workers("processes").open() as opened:
        list(opened.run(exec, work, [{}] * 3))
    assert capfd.readouterr().err == ""


def list_descendants(pid):
    """The processes that a process has started, and those that these have."""
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return children + [each for child in children for each in list_descendants(child)]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.commands
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc, where processes are listed")
@pytest.mark.parametrize(("number", "status"), [(signals.SIGTERM, 130), (signals.SIGKILL, -signals.SIGKILL)])
def test_workers_end_with_the_command_that_is_stopped_or_killed_whatever_they_do(number, status, tmp_path):
    write_crops(tmp_path / "crops", 1)
    command = [BIN / "winner-batch", "crops", "--output", "out", "--engine", "processes", "--steps", str(10**9)]
    with (
        (tmp_path / "shown").open("w") as shown,
        subprocess.Popen(command, cwd=tmp_path, stdout=shown, stderr=shown) as process,
    ):
        while process.poll() is None and len(workers := list_descendants(process.pid)) < 2:  # one tracks resources
            time.sleep(0.05)
        try:
            process.send_signal(number)
            assert process.wait(60) == status
            deadline = time.monotonic() + 60
            while any(map(is_running, workers)):
                assert time.monotonic() < deadline, "workers are left"
                time.sleep(0.05)
        finally:
            for each in filter(is_running, [process.pid, *workers]):
                os.kill(each, signals.SIGKILL)
    if status == 130:
        assert (tmp_path / "shown").read_text().splitlines()[-1] == STOPPED, (tmp_path / "shown").read_text()


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("", r"engine=ray: Ray does not start on this machine \(The current node timed out\)"),
        ("10.0.0.1:6379", r"engine=ray://10\.0\.0\.1:6379: no cluster answers there"),
    ],
)
def test_a_cluster_that_does_not_start_is_told_in_one_line(address, line):
    def init(**arguments):
        raise Exception("The current\nnode timed out")

    with (
        pytest.raises(ValueError, match=line),
        engine._run_ray(SimpleNamespace(is_initialized=bool, init=init), address, 1, 0),
    ):
        pass


@pytest.mark.parametrize(
    ("workers", "line"),
    [
        (engine.Workers("processes", cpus=float("inf")), r"cpus=inf must be more than 0 and finite"),
        (engine.Workers("processes", cpus=float("nan")), r"cpus=nan must be more than 0 and finite"),
        (engine.Workers("ray", gpus=float("inf")), r"gpus=inf finite and not negative"),
    ],
)
def test_cores_and_graphics_processors_that_no_machine_can_have_are_refused(workers, line):
    with pytest.raises(engine.EngineError, match=line), workers.open():
        pass


def test_workers_read_files_and_no_arrays(tmp_path):
    with pytest.raises(ValueError, match=r"engine='processes': workers read a file; write it with numpy\.save"):
        fit_groups(np.eye(60), tmp_path / "there", engine="processes", **PARTS)


def test_a_worker_refuses_another_file_than_that_of_the_fit(signal, tmp_path, monkeypatch):
    jobs = []
    monkeypatch.setattr(groups, "_train_groups", lambda job, *rest: jobs.append(job))
    with pytest.raises(FieldFileError, match="has no group-000000"):
        fit_groups(signal, tmp_path / "there", **{**PARTS, "measure": False})
    assert groups._read_and_train(jobs[0], 1) == [1]
    groups._read.clear()
    np.save(signal, np.zeros((60, 50), np.float32))
    with pytest.raises(ValueError, match=r"large\.npy: has changed, or is another file where a worker reads it"):
        groups._read_and_train(jobs[0], 2)
