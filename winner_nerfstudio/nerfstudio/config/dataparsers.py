"""The data parser, which loads the `Signal` that the command line names.

nerfstudio imports this module for every method, while its own import is unfinished. The module may therefore import
only the few nerfstudio modules below, and no library at the top that takes long to import.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import tyro
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.plugins.registry_dataparser import DataParserSpecification

from ...progress import working
from ...registry import Kind, all_kinds, kind_named
from ...signals.errors import SignalError
from ...signals.messages import error_line, escape
from ...signals.options import SignalOptions
from ..quiet import quiet_imports

if TYPE_CHECKING:
    from ...signals.signal import Signal

quiet_imports()


@dataclass
class SignalDataParserConfig(DataParserConfig):
    """The file or sample of a signal, and the options of loading it."""

    _target: type = field(default_factory=lambda: SignalDataParser)
    kind: tyro.conf.Suppress[str] = ""
    data: Path = Path()
    """File, or sample:NAME for a built-in sample."""
    options: Annotated[SignalOptions, tyro.conf.arg(name="")] = field(default_factory=SignalOptions)
    """The options of loading this kind of signal."""


class SignalDataParser(DataParser):
    """The data parser, which loads a signal and returns it as ``metadata["signal"]`` with its transform and scale."""

    config: SignalDataParserConfig

    def _generate_dataparser_outputs(self, split: str = "train", **kwargs: Any) -> DataparserOutputs:
        """Return the outputs; if the target cannot be loaded, end the program with one line and status 1."""
        from ..models.base import model_class

        kind = kind_named(self.config.kind)
        try:
            if self.config.data == Path():
                choices = " or one of " + ", ".join(f"--data sample:{name}" for name in sorted(kind.samples))
                choices *= bool(kind.samples)
                raise SignalError(f"no target given; name one with --data FILE ({kind.formats}){choices}")
            signal = _load_once(kind, self.config)
        except SignalError as error:
            raise SystemExit(error_line(error)) from None
        except MemoryError:
            raise SystemExit(f"error: {escape(self.config.data)}: does not fit into memory; fit a part of it") from None
        # nerfstudio's world has three axes; a signal of fewer axes takes the first of them.
        transform = torch.eye(4)[:3]
        transform[: len(signal.normalization.center), 3] = -torch.tensor(signal.normalization.center)
        return DataparserOutputs(
            image_filenames=[],
            cameras=model_class(kind).cameras(self.config.options),
            scene_box=SceneBox(aabb=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])),
            metadata={"signal": signal},
            dataparser_transform=transform,
            dataparser_scale=signal.normalization.scale,
        )


_last_loaded: "tuple[object, Signal] | None" = None


def _load_once(kind: Kind, config: SignalDataParserConfig) -> "Signal":
    """Return the signal that a config names; the last one is kept until its file or its options change.

    A run asks for its target twice: to check it before anything is written, and to train.
    """
    from nerfstudio.utils.rich_utils import CONSOLE

    global _last_loaded
    state = config.data.stat() if config.data.is_file() else None
    key = (kind.name, config.data, state and (state.st_mtime_ns, state.st_size), repr(config.options))
    if _last_loaded is None or _last_loaded[0] != key:
        _last_loaded = None  # releases the old signal first, so that two large ones are never in memory
        with working(CONSOLE, f"loading {config.data}"):
            _last_loaded = key, kind.load(str(config.data), config.options)
    return _last_loaded[1]


def data_parser_config(kind: Kind) -> SignalDataParserConfig:
    """Return the config of a kind's data parser."""
    return SignalDataParserConfig(kind=kind.name, options=kind.options())


def __getattr__(name: str) -> DataParserSpecification:
    """Return the specification that an entry point names, such as ``image_data`` for the data parser ``image-data``."""
    for kind in all_kinds():
        if kind.data_parser.replace("-", "_") == name:
            return DataParserSpecification(data_parser_config(kind), f"Load {kind.title}.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
