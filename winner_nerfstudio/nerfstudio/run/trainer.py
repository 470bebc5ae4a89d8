"""The trainer of nerfstudio and its config, changed where a run would otherwise fail or surprise its user."""

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar

import torch
import tyro
import yaml
from nerfstudio.configs.base_config import MachineConfig
from nerfstudio.engine.optimizers import Optimizers
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from nerfstudio.utils import comms, writer
from nerfstudio.utils.misc import step_check
from nerfstudio.utils.rich_utils import CONSOLE

from ...fields.checkpoint import CHECKPOINT_FOLDER, CheckpointError, checkpoint_steps, read_checkpoint
from ...files import make_folder, replacing, stem_of
from ...registry import kind_named, kind_of
from ...signals.messages import error_line, escape, quote, shorten
from ...training.optimizers import check_state, find_settings
from ...training.plan import Course, make_plan
from ...training.prepare import FitOptions, list_arguments
from ...training.share import Share
from ...training.verdict import INTERRUPTED, POOR_FIT
from ..config.datamanager import SignalDataManager, SignalDataManagerConfig
from ..config.optimizers import SignalOptimizerConfig
from ..config.schedulers import CosineDecayConfig
from ..models.base import SignalModelConfig
from ..quiet import quiet_libraries, quiet_nerfstudio
from .evaluation import find_config
from .processes import end_processes, exit_if_lost, seed_everything, start_processes
from .unfit import UnfitCheckpoint

C = TypeVar("C", bound=TrainerConfig)
SECONDS_TO_END = 10.0
"""How long the other processes may take to end after the last step."""
CONFIG = "config.yml"
"""The file in a run's folder that holds its config."""
_NO_TIMESTAMP = "{timestamp}"
"""nerfstudio's mark for a timestamp that is yet to be set."""


def read_or_exit(path: Path) -> None:
    """Read a checkpoint and drop it; end the program with one line and status 1 if it is damaged."""
    try:
        read_checkpoint(path)
    except (CheckpointError, OSError) as error:
        raise SystemExit(error_line(error)) from None


@contextmanager
def handling(handler: Callable[[int, FrameType | None], Any], *numbers: signal.Signals) -> Iterator[None]:
    """Let a function handle signals meanwhile, in the main thread, which alone can say what does."""
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in numbers} if in_main else {}
    try:
        yield
    finally:
        for number, other in before.items():
            signal.signal(number, other)


@contextmanager
def ending_if_interrupted() -> Iterator[None]:
    """End the program with one line and the status `INTERRUPTED` on Ctrl-C, or when it is asked to end by SIGTERM."""
    with handling(signal.default_int_handler, signal.SIGTERM):
        try:
            yield
        except KeyboardInterrupt:
            CONSOLE.print("interrupted before the first step; nothing was trained")
            raise SystemExit(INTERRUPTED) from None


def default_machine() -> MachineConfig:
    """Return the config of a machine with CUDA if it is available, else with the CPU."""
    return MachineConfig(device_type="cuda" if torch.cuda.is_available() else "cpu")


FIRST = ("data", "max_num_iterations", "output_dir", "experiment_name", "vis", "load_dir", "load_step")
"""The options of a run that matter most, which ``--help`` lists first."""
LAST = ("machine", "logging", "viewer")
"""The groups of options that are nerfstudio's own, which ``--help`` lists last."""


def order_help(config: type[C]) -> type[C]:
    """Change the order in which ``--help`` lists the options of a config: this package's own come before nerfstudio's.

    The command line is made from the fields of the dataclass in their order; nothing else depends on it.
    """
    fields = config.__dataclass_fields__
    names = [*FIRST, *(name for name in fields if name not in (*FIRST, *LAST)), *LAST]
    config.__dataclass_fields__ = {name: fields[name] for name in names}
    return config


def check_machine(machine: MachineConfig) -> None:
    """Check the numbers of devices and machines.

    Raises:
        ValueError: they cannot be used here; the message is one line.
    """
    devices, machines = machine.num_devices, machine.num_machines
    if machine.device_type == "cuda" and not torch.cuda.is_available():
        raise ValueError("--machine.device-type cuda, but torch finds no CUDA device here; use cpu")
    if devices < 1 or machines < 1:
        raise ValueError(f"--machine.num-devices {devices} and --machine.num-machines {machines} must be at least 1")
    if machine.device_type == "cuda" and devices > torch.cuda.device_count():
        raise ValueError(f"--machine.num-devices {devices}, but torch finds {torch.cuda.device_count()} here")
    if machine.device_type == "mps" and devices * machines > 1:
        raise ValueError(f"--machine.num-devices {devices}: a run on mps uses one device; leave it at 1")
    if machine.device_type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("--machine.device-type mps, but torch finds no such device here; use cpu")
    if not 0 <= machine.seed < 1 << 32:
        raise ValueError(f"--machine.seed {machine.seed} must be from 0 to {(1 << 32) - 1}")
    if not 0 <= machine.machine_rank < machines:
        raise ValueError(f"--machine.machine-rank {machine.machine_rank} must be from 0 to {machines - 1}")
    if machines > 1 and machine.dist_url == "auto":
        raise ValueError("--machine.num-machines needs an address of the first one: --machine.dist-url tcp://HOST:PORT")


@order_help
@dataclass
class WinnerTrainerConfig(TrainerConfig):
    """The config of a run of any of this package's methods; subclasses add what depends on the data."""

    _target: type = field(default_factory=lambda: WinnerTrainer)
    machine: MachineConfig = field(default_factory=default_machine)
    group: MachineConfig | None = field(default=None, init=False)
    """The machine as the user has described it, if its processes are started by this package, see `complete`."""
    started_in: Path | None = field(default=None, init=False)
    """The folder in which the run was started, to which relative paths refer."""
    folder: Path | None = field(default=None, init=False)
    """The folder of a run that is being read, which may have been moved since it was written."""
    replaced: bytes | None = field(default=None, init=False)
    """The config.yml of the run that this one resumes in its place, until the first step."""

    def __post_init__(self) -> None:
        """Hand ``--data`` to the data manager, which ``ns-train`` would do with a line about it.

        If the data manager has other data already, the program ends with one line.
        """
        if self.data is not None:
            other = self.pipeline.datamanager.data
            if other not in (None, self.data):
                line = f"error: --data {self.data} and --pipeline.datamanager.data {other} differ; give one of them"
                raise SystemExit(escape(line))
            self.pipeline.datamanager.data, self.data = self.data, None

    def set_timestamp(self) -> None:
        """Check and complete the config, then set the timestamp.

        ``ns-train`` calls this method before it writes anything, and it is the first method of this package that it
        calls. If an option is wrong, the program ends with a message of one line and status 1.
        """
        quiet_libraries()
        is_loaded = self.started_in is not None  # by --load-config, from the config.yml of a run
        if is_loaded:
            self.timestamp = _NO_TIMESTAMP
            self._find_relative()
        with ending_if_interrupted():
            try:
                self.check()
            except ValueError as error:
                raise SystemExit(error_line(error)) from None
            self.complete()
        is_writer, is_new = self.machine.machine_rank == 0, self.timestamp == _NO_TIMESTAMP
        if is_new:
            super().set_timestamp()
        if is_writer and is_new:
            self._reserve_folder()
        elif is_writer:
            self._check_folder()
        if is_loaded:
            line = f"the run of --load-config is made again, in {self.get_base_dir()}; all other options are ignored"
            CONSOLE.print(escape(line), markup=False, soft_wrap=True)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Leave nothing of a run that ends before its first step, which Ctrl-C and SIGTERM do in one line."""
        with ending_if_interrupted():
            try:
                yield
            except BaseException:
                if self.replaced is None:
                    self._remove_folder()
                else:
                    with suppress(OSError), replacing(self.get_base_dir() / CONFIG) as temporary:
                        temporary.write_bytes(self.replaced)
                raise

    def _remove_folder(self) -> None:
        """Remove the run's folder, and those above it that are then empty, if it holds nothing but the config."""
        folder = self.get_base_dir()
        if Share.of_process().rank == 0 and {path.name for path in folder.glob("*")} <= {CONFIG}:
            with suppress(OSError):
                (folder / CONFIG).unlink(missing_ok=True)
                for each in (folder, folder.parent, folder.parent.parent):  # of the run, its method and its experiment
                    each.rmdir()

    def _reserve_folder(self) -> None:
        """Make the run's folder; one that started in the same second keeps its own."""
        stamp = self.timestamp
        for attempt in count(2):
            try:
                make_folder(self.get_base_dir().parent)
                self.get_base_dir().mkdir()
                return
            except FileExistsError:
                self.timestamp = f"{stamp}-{attempt}"
            except OSError as error:
                raise SystemExit(f"{error_line(error)}; choose another folder with --output-dir") from None

    def _check_folder(self) -> None:
        """End the program with one line if the run would delete the checkpoints of one that it does not resume."""
        folder = self.get_base_dir() / self.relative_model_dir
        resumed = self.load_checkpoint is not None and self.load_checkpoint.resolve().parent == folder.resolve()
        if checkpoint_steps(folder) and not resumed:
            raise SystemExit(
                escape(
                    f"error: {folder}: holds the checkpoints of another run, which this one would delete; choose"
                    " another --timestamp, or resume that run with --load-dir"
                )
            )

    def save_config(self) -> None:
        """Write config.yml into the run's folder, whole or not at all; end the program with one line if it cannot."""
        if self.machine.machine_rank > 0:
            return
        path, self.started_in = self.get_base_dir() / CONFIG, Path.cwd()
        before = path.read_bytes() if path.is_file() else None
        try:
            with replacing(path) as temporary:
                temporary.write_text(yaml.dump(self), "utf8")
        except OSError as error:
            raise SystemExit(f"{error_line(error)}; choose another folder with --output-dir") from None
        self.replaced = before

    def get_base_dir(self) -> Path:
        """Return the folder of the run."""
        return super().get_base_dir() if self.folder is None else self.folder

    def get_checkpoint_dir(self) -> Path:
        """Return the folder of the checkpoints; end the program with one line if the newest in it cannot be read.

        ``ns-eval`` and its like ask for it just before they read that checkpoint and the data.
        """
        if (config := find_config()) is not None:
            self.folder = config.parent
            self._find_data(config)
        folder = super().get_checkpoint_dir()
        if steps := checkpoint_steps(folder):
            read_or_exit(folder / f"step-{steps[-1]:09d}.ckpt")
            if config is not None and self.load_step is None:
                self.load_step = steps[-1]  # or nerfstudio takes any other file in the folder for a checkpoint
        return folder

    def _find_data(self, config: Path) -> None:
        """Let relative paths refer to where the run was started; end the program with one line if its data is missing.

        Args:
            config: the run's config.yml.
        """
        self._find_relative()
        data, start = getattr(self.pipeline.datamanager, "data", None), self.started_in
        if data is not None and not data.exists() and not str(data).startswith("sample:"):
            missing = data if start is None else start / data
            raise SystemExit(
                escape(
                    f"error: {missing}: no such file, but {config} was fitted to it; put it back, or use winner-export,"
                    " which reads the run alone"
                )
            )

    def _find_relative(self) -> None:
        """Let relative paths of the data refer to where the run was started."""
        manager, start = self.pipeline.datamanager, self.started_in
        parser = getattr(manager, "dataparser", None)
        if start is None or start == Path.cwd():
            return
        source = start / (getattr(manager, "data", None) or getattr(parser, "data", None) or Path())
        for options in (manager, parser, getattr(parser, "options", None)):
            for name, value in vars(options).items() if options is not None else ():
                if not isinstance(value, Path) or value == Path() or not (start / value).exists():
                    continue
                # Some options of nerfstudio's parsers refer to the data, such as colmap-data's folder of pictures.
                if options is not parser or name == "data" or not (source / value).exists():
                    setattr(options, name, start / value)

    def complete(self) -> None:
        """Set the checkpoint to load and the steps of the learning rate's decay from the other options.

        nerfstudio's launcher starts several processes for CUDA devices only. For others it is told of a single one,
        which starts the others, see `setup`.
        """
        if self.machine.device_type != "cuda" and self.machine.num_devices * self.machine.num_machines > 1:
            self.group, self.machine = self.machine, replace(self.machine, num_devices=1, num_machines=1)
        if self.load_dir is not None:
            # The checkpoint is named as a file: nerfstudio fails if the folder holds any other file, and a load_step
            # that is saved in config.yml makes ns-eval look for that step in the new run.
            step = checkpoint_steps(self.load_dir)[-1] if self.load_step is None else self.load_step
            self.load_checkpoint, self.load_dir, self.load_step = self.load_dir / f"step-{step:09d}.ckpt", None, None
        if self.logging.steps_per_log == 0:  # never; nerfstudio's own report divides by it
            self.logging.local_writer.enable = False
        for group in self.optimizers.values():
            if isinstance(group["scheduler"], CosineDecayConfig) and group["scheduler"].max_steps is None:
                group["scheduler"].max_steps = self.max_num_iterations

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError: an option is wrong, or options exclude each other; the message is one line.
        """
        check_machine(self.machine)
        if self.relative_model_dir != Path(CHECKPOINT_FOLDER):
            raise ValueError(
                f"--relative-model-dir {self.relative_model_dir}: a run's checkpoints lie in {CHECKPOINT_FOLDER}, where"
                " winner-export looks for them"
            )
        for group, gathered in self.gradient_accumulation_steps.items():
            if group not in self.optimizers or gathered < 1:
                raise ValueError(
                    f"--gradient-accumulation-steps {group} {gathered}: the groups are {', '.join(self.optimizers)},"
                    " and the number is at least 1"
                )
        for group, parts in self.optimizers.items():
            scheduler = parts["scheduler"]
            if isinstance(scheduler, CosineDecayConfig):
                scheduler.check(f"--optimizers.{group}.scheduler.")
        if self.max_num_iterations is not None and self.max_num_iterations < 1:
            raise ValueError(f"--max-num-iterations {self.max_num_iterations} must be at least 1")
        self._check_data_is_one()
        if self.load_dir is not None and self.load_checkpoint is not None:
            raise ValueError(
                f"--load-dir {self.load_dir} and --load-checkpoint {self.load_checkpoint} exclude each other; give one"
            )
        if self.load_step is not None and self.load_dir is None:
            raise ValueError(f"--load-step {self.load_step} needs --load-dir, the folder of that step's checkpoint")
        if self.load_dir is not None:
            steps = checkpoint_steps(self.load_dir)
            if not steps:
                raise ValueError(
                    f"{self.load_dir}: no checkpoint step-*.ckpt there; --load-dir takes a run's nerfstudio_models"
                )
            if self.load_step is not None and self.load_step not in steps:
                raise ValueError(
                    f"{self.load_dir}: no checkpoint of step {self.load_step}; it has {', '.join(map(str, steps))}"
                )
        if self.load_checkpoint is not None and not self.load_checkpoint.is_file():
            raise ValueError(f"{self.load_checkpoint}: no such file; --load-checkpoint takes a run's step-*.ckpt")

    def _check_data_is_one(self) -> None:
        """Check that the data manager and its data parser are not told of different data."""
        data, parser = (getattr(self.pipeline.datamanager, name, None) for name in ("data", "dataparser"))
        if data is not None and parser is not None and parser.data not in (data, type(parser)().data):
            raise ValueError(
                f"--data {data} and, behind the data parser's name, --data {parser.data} differ; give one of them"
            )

    def setup(self, **arguments: Any) -> "WinnerTrainer":
        """Return a trainer; start the other processes of a run on CPUs first."""
        processes = []
        with self.starting():
            if self.group is not None and not comms.is_dist_avail_and_initialized():
                processes = start_processes(self, self.group)
            trainer: WinnerTrainer = super().setup(**arguments)
        trainer.processes = processes
        return trainer

    def print_to_terminal(self) -> None:
        """Do nothing, because the config is in config.yml and the run prints what matters of it."""


@order_help
@dataclass
class SignalTrainerConfig(WinnerTrainerConfig):
    """The config of a run that fits one signal."""

    data: Path | None = None
    """File to fit, or sample:NAME; the options of loading it come last, behind the data parser's name."""
    max_num_iterations: int | None = None  # type: ignore[assignment]
    """Number of training steps of the whole run, including those before it was resumed; if left out, it depends on the
    kind and the size of the signal."""
    steps_per_save: int | None = None  # type: ignore[assignment]
    """Number of steps between checkpoints; if left out, a fifth of all steps."""
    load_dir: Path | None = None
    """Folder nerfstudio_models of a stopped run, which is resumed."""
    prompt: tyro.conf.Suppress[str | None] = None
    arguments: list[str] | None = field(default_factory=list, init=False)
    """The arguments with which ``winner-fit`` makes the same fit, besides the file and the output, see `complete`; None
    if there are none."""
    given_rate: float | None = field(default=None, init=False)
    """The learning rate that the user has set, with which a resumed run goes on in place of its checkpoint's."""

    def check(self) -> None:
        """Check the options of the run, the data, the network and the batches."""
        super().check()
        if self.machine.device_type == "mps":
            raise ValueError(
                "--machine.device-type mps has no double precision, in which a field has its place; use cpu"
            )
        model = self.pipeline.model
        assert isinstance(model, SignalModelConfig)
        self._get_data_manager().dataparser.options.check()
        self._get_data_manager().batches.check()
        model.options.check(kind_named(model.kind).axes, "--pipeline.model.")

    def complete(self) -> None:
        """Load the target and complete the config for it; the program ends now if the target cannot be used."""
        data, model, optimizer = self._get_data_manager(), self.pipeline.model, self.optimizers["fields"]["optimizer"]
        assert isinstance(model, SignalModelConfig)
        signal = data.load_outputs().metadata["signal"]
        options = FitOptions(kind_named(model.kind), data.dataparser.options, model.options, data.batches)
        self.arguments = self._list_arguments(options) if self._is_plain() else None
        self.given_rate = optimizer.lr
        plan = make_plan(signal, options, Course(self.max_num_iterations, optimizer.lr, optimizer.name))
        if plan.note:
            CONSOLE.print(escape(plan.note), markup=False, soft_wrap=True)
        model.options, data.batches = plan.options.network, plan.options.batches
        self.max_num_iterations, optimizer.lr, optimizer.name = plan.steps, plan.learning_rate, plan.optimizer
        if self.steps_per_save is None:
            self.steps_per_save = max(1, plan.steps // 5)
        super().complete()

    def _is_plain(self) -> bool:
        """Return whether all options that change the fit, and that ``winner-fit`` does not have, are as by default."""
        optimizer, scheduler = self.optimizers["fields"]["optimizer"], self.optimizers["fields"]["scheduler"]
        if scheduler.max_steps == self.max_num_iterations:
            scheduler = replace(scheduler, max_steps=None)
        scaled = self.mixed_precision or self.use_grad_scaler or self.gradient_accumulation_steps
        return (
            replace(optimizer, lr=None, name=None) == SignalOptimizerConfig()
            and scheduler == CosineDecayConfig()
            and self.load_checkpoint is None
            and not scaled
        )

    def _list_arguments(self, options: FitOptions) -> list[str]:
        """Return the arguments of ``winner-fit`` that set what the user has set."""
        optimizer, arguments = self.optimizers["fields"]["optimizer"], []
        try:
            is_known = kind_of(self._get_data_manager().dataparser.data).name == options.kind.name
        except ValueError:
            is_known = False
        for name, value, default in [
            ("kind", options.kind.name, options.kind.name if is_known else None),
            ("steps", self.max_num_iterations, None),
            ("learning-rate", optimizer.lr, None),
            ("optimizer", optimizer.name, None),
            ("seed", self.machine.seed, MachineConfig().seed),
        ]:
            if value != default:
                arguments += [f"--{name}", str(value)]
        return arguments + list_arguments(options)

    def set_experiment_name(self) -> None:
        """Set the experiment's name, if there is none yet, to the file's name without suffix or the sample's name."""
        if self.experiment_name is None:
            data = self._get_data_manager()
            source = data.data or data.dataparser.data
            # The writers of logs cannot write names that are no UTF-8.
            self.experiment_name = os.fsencode(stem_of(source)).decode("utf8", "replace")

    def _get_data_manager(self) -> SignalDataManagerConfig:
        """Return the config of the data manager."""
        data = self.pipeline.datamanager
        assert isinstance(data, SignalDataManagerConfig)
        return data


class JoinedOptimizers(Optimizers):
    """nerfstudio's optimisers, which take each step with the gradients of all processes.

    nerfstudio's own way, torch's wrapper of a model, averages gradients of batches that each process draws for itself.
    """

    def optimizer_scaler_step_some(self, grad_scaler: Any, param_groups: list[str]) -> None:
        """Add up the gradients of all processes before they are looked at in any way, and take a step."""
        Share.of_process().add_gradients(weight for group in param_groups for weight in self.parameters[group])
        super().optimizer_scaler_step_some(grad_scaler, param_groups)

    def load_optimizers(self, loaded_state: dict[str, Any]) -> None:
        """Load the states of the optimisers.

        Raises:
            UnfitCheckpoint: they are of other optimisers, or of other settings, which torch would take over or refuse.
            ValueError: they do not fit the weights.
        """
        for group, optimizer in self.optimizers.items():
            current, stored = find_settings(optimizer.state_dict()), find_settings(loaded_state[group])
            for name, value in stored.items():
                if value != current[name]:
                    option = f"--optimizers.{group}.optimizer" + (
                        "" if name == "name" else f".{name.replace('_', '-')}"
                    )
                    raise UnfitCheckpoint(
                        f"belongs to a run with {option} {value}, not {current[name]}; give that option again, or train"
                        " anew"
                    )
        super().load_optimizers(loaded_state)
        for optimizer in self.optimizers.values():
            check_state(optimizer)

    def set_learning_rate(self, group: str, rate: float) -> bool:
        """Go on with another first learning rate than that which was loaded; the course of its decay is the same.

        Returns:
            Whether it is another one.
        """
        before = self.optimizers[group].param_groups[0]["initial_lr"]
        for weights in self.optimizers[group].param_groups:
            weights["lr"] *= rate / weights["initial_lr"]
            weights["initial_lr"] = rate
        scheduler = self.schedulers[group]
        scheduler.base_lrs = [rate] * len(scheduler.base_lrs)
        return bool(rate != before)


class WinnerTrainer(Trainer):
    """A trainer that counts the steps before a resume in ``max_num_iterations`` and saves only complete files.

    Of several processes each trains on its share of every batch, see `Share`; only the first one writes, evaluates and
    reports.

    Args:
        config: the config of the run.
        local_rank: index of the process among those of its machine.
        world_size: number of all processes, which nerfstudio's own classes are not told, because they would draw other
            batches.
    """

    config: WinnerTrainerConfig
    optimizers: JoinedOptimizers
    processes: Sequence[SpawnProcess] = ()
    """The processes that this one has started."""
    is_to_end: bool = False
    """Whether the run is to end before its next step."""
    _total: int = 0

    def __init__(self, config: WinnerTrainerConfig, local_rank: int = 0, world_size: int = 1) -> None:
        self.share = Share.of_process()
        if self.share.count > 1:
            seed_everything(config.machine.seed)
            if config.machine.device_type == "cuda":
                torch.cuda.set_device(local_rank)
        if self.share.rank > 0:
            CONSOLE.quiet, config.vis = True, "tensorboard"
        with quiet_nerfstudio():
            super().__init__(config, local_rank)
        if self.share.rank > 0:  # nerfstudio writes a file in each process
            self._folder = tempfile.TemporaryDirectory()
            self.base_dir = Path(self._folder.name)

    def setup(self, test_mode: Literal["test", "val", "inference"] = "val") -> None:
        """Set up pipeline, optimizers and writers; only a viewer says something about itself."""
        is_viewed = self.config.is_viewer_enabled() or self.config.is_viewer_legacy_enabled()
        with self.config.starting(), nullcontext() if is_viewed else quiet_nerfstudio():
            super().setup(test_mode)

    def setup_optimizers(self) -> Optimizers:
        """Return the optimisers; all processes begin with the weights of the first."""
        self.share.copy_first(self.pipeline.parameters())
        return JoinedOptimizers(self.config.optimizers.copy(), self.pipeline.get_param_groups())

    def eval_iteration(self, step: int) -> None:
        """Evaluate, in the first process; before, drop what is not to be logged at this step.

        nerfstudio logs times and the learning rate at every step, whatever ``--logging.steps-per-log`` says, which
        takes up to a tenth of the time of a step.
        """
        if not step_check(step, self.config.logging.steps_per_log, run_at_zero=True):
            writer.EVENT_STORAGE[:] = [
                event for event in writer.EVENT_STORAGE if event["write_type"] is not writer.EventType.SCALAR
            ]
        if self.share.rank == 0:
            super().eval_iteration(step)

    @property
    def last_step(self) -> int:
        """Return the number of steps of the whole run, including those before it was resumed."""
        return self._total

    def _load_checkpoint(self) -> None:
        """Load the checkpoint that the config names; end the program with one line if it cannot be used."""
        path = self.config.load_checkpoint
        if path is not None:
            read_or_exit(path)
        try:
            super()._load_checkpoint()
        except UnfitCheckpoint as unfit:
            raise UnfitCheckpoint(unfit.problem, escape(path)) from None
        except Exception as error:  # what nerfstudio and torch read may be anything
            raise SystemExit(f"error: {escape(path)}: not a whole checkpoint ({shorten(error, 200)})") from None
        if (
            path is not None
            and isinstance(self.config, SignalTrainerConfig)
            and self.config.given_rate is not None
            and self.optimizers.set_learning_rate("fields", self.config.given_rate)
        ):
            self.config.arguments = None  # no command makes a fit of two rates

    def train(self) -> None:
        """Train up to the total number of steps, which nerfstudio's own method would count from the checkpoint.

        Raises:
            SystemExit: a file cannot be written; with the status `POOR_FIT`: the fit failed or needs more steps; with
                the status `INTERRUPTED`: the user has ended the run.
        """
        remaining = self.config.max_num_iterations - self._start_step
        if remaining < 0:
            CONSOLE.print(
                f"Nothing is trained: the run has {self._start_step} steps already, more than the"
                f" {self.config.max_num_iterations} of --max-num-iterations."
            )
        elif self._start_step:
            CONSOLE.print(f"Resuming after {self._start_step} of {self.config.max_num_iterations} steps.")
        # The trainer reads its number of steps from the config, which may be changed because it is saved already.
        self._total, self.config.max_num_iterations = self.config.max_num_iterations, max(remaining, 0)
        self.step = max(self._start_step - 1, 0)
        if isinstance(self.pipeline.datamanager, SignalDataManager):
            self.pipeline.datamanager.expect_steps(self._total)
        try:
            with self._ending_between_steps():
                super().train()
        except OSError as error:
            raise SystemExit(f"{error_line(error)}; what was saved before is kept") from None
        except KeyboardInterrupt:
            self._say_interrupted()
            raise SystemExit(INTERRUPTED) from None
        except RuntimeError:
            exit_if_lost(self.processes, seconds=1)
            raise
        finally:
            self.config.max_num_iterations = self._total
            if self.config.group is not None:
                end_processes(self.processes, SECONDS_TO_END if self.training_state == "completed" else 0.0)
        if getattr(self.pipeline, "verdict", None) is not None:
            raise SystemExit(POOR_FIT)

    @contextmanager
    def _ending_between_steps(self) -> Iterator[None]:
        """Let a first Ctrl-C, or another request to end, end the run when its step is done, and a second one at once.

        Of several processes each would end after a step of its own; there the first request counts at once.
        """
        if self.share.count > 1:
            yield
            return

        def end(number: int, frame: object) -> None:
            if self.is_to_end or self.training_state == "completed":
                raise KeyboardInterrupt
            self.is_to_end, self.training_state = True, "training"  # which it may be paused in

        with handling(end, signal.SIGINT, signal.SIGTERM):
            yield

    def train_iteration(self, step: int) -> Any:
        """Take a step; if the run is to end, save the state after the step before instead.

        Raises:
            KeyboardInterrupt: the run is to end.
        """
        if self.is_to_end:
            if step > self._start_step:
                self.save_checkpoint(step - 1)
            raise KeyboardInterrupt
        return super().train_iteration(step)

    def _say_interrupted(self) -> None:
        """Say how many steps are kept, and how the run goes on."""
        if steps := checkpoint_steps(self.checkpoint_dir):
            line = f"interrupted; {steps[-1] + 1} of {self._total} steps are kept: "
            line += f"the same command goes on with --load-dir {quote(self.checkpoint_dir)}"
        else:
            line = "interrupted; no step of this run is kept"
        CONSOLE.print(escape(line), markup=False, soft_wrap=True)

    def _train_complete_viewer(self) -> None:
        """Keep the viewer until the user ends the program, which is no interruption of the run."""
        with suppress(KeyboardInterrupt):
            super()._train_complete_viewer()

    def save_checkpoint(self, step: int) -> None:
        """Save to a temporary folder and move the file, so that a run killed meanwhile damages no checkpoint.

        Only the first process saves. If the file cannot be written, end the program with one line; the checkpoints
        before are kept.
        """
        if self.share.rank > 0:
            return
        try:
            self._save_whole(step)
        except (OSError, RuntimeError) as error:  # torch raises a RuntimeError where the disk is full
            raise SystemExit(
                f"error: {escape(self.checkpoint_dir)}: the checkpoint of step {step} cannot be written"
                f" ({shorten(error)}); make room, and resume from the one before, if any, with --load-dir"
            ) from None

    def _save_whole(self, step: int) -> None:
        """Save a checkpoint beside its place, and move it there once it is whole."""
        final = self.checkpoint_dir
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=final.parent) as temporary:
            self.checkpoint_dir = Path(temporary)
            try:
                super().save_checkpoint(step)
            finally:
                self.checkpoint_dir = final
            (saved,) = Path(temporary).iterdir()
            final.mkdir(parents=True, exist_ok=True)
            os.replace(saved, final / saved.name)
        for other in checkpoint_steps(final):
            # Those of later steps are of the run before, which was resumed from an earlier one.
            if other != step and (self.config.save_only_latest_checkpoint or other > step):
                (final / f"step-{other:09d}.ckpt").unlink()


SignalTrainer = WinnerTrainer
"""The name of the trainer in the config.yml of older runs."""
