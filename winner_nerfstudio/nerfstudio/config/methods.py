"""The methods that ``ns-train`` offers.

nerfstudio imports this module for every method. It therefore imports no library that takes long to import or that might
be missing.
"""

import atexit
import gc
import inspect
from functools import partial
from types import SimpleNamespace
from typing import Any

from nerfstudio.configs import external_methods
from nerfstudio.configs.base_config import LocalWriterConfig, LoggingConfig, ViewerConfig
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManagerConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.plugins.types import MethodSpecification

from ...registry import Kind, all_kinds
from ..models.base import SignalModelConfig
from ..photos.initialization import PhotoInitializationOptions
from ..photos.nerf_model import WinnerNeRFModelConfig
from ..photos.neus_model import WinnerNeuSModelConfig
from ..photos.pipeline import PhotoPipelineConfig
from ..photos.trainer import PhotoTrainerConfig
from ..run.pipeline import SignalPipelineConfig
from ..run.trainer import SignalTrainerConfig
from .datamanager import data_manager_config
from .optimizers import FieldOptimizerConfig, SignalOptimizerConfig
from .schedulers import CosineDecayConfig


def optimizers(optimizer: FieldOptimizerConfig) -> dict[str, dict[str, Any]]:
    """Return the configs of the optimiser and of a cosine decay for ``fields``, the only group of parameters."""
    return {"fields": {"optimizer": optimizer, "scheduler": CosineDecayConfig()}}


def method(kind: Kind) -> MethodSpecification:
    """Return the method ``ns-train winner-KIND`` for a kind of signal."""
    return MethodSpecification(
        config=SignalTrainerConfig(
            method_name=kind.method,
            steps_per_eval_batch=100,
            steps_per_eval_image=500,
            pipeline=SignalPipelineConfig(
                datamanager=data_manager_config(kind.name)(),
                model=SignalModelConfig(kind=kind.name, options=kind.network()),
            ),
            optimizers=optimizers(SignalOptimizerConfig()),
            logging=LoggingConfig(steps_per_log=50, profiler="none", local_writer=LocalWriterConfig(enable=False)),
            viewer=ViewerConfig(websocket_host="127.0.0.1"),
            vis="tensorboard",
        ),
        description=f"Fit a sine network with WINNER's initialisation to {kind.title}.",
    )


def __getattr__(name: str) -> MethodSpecification:
    """Return the specification that an entry point names, such as ``winner_image`` for the method ``winner-image``."""
    for kind in all_kinds():
        if kind.method.replace("-", "_") == name:
            return method(kind)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def photo_method(name: str, model: PhotoInitializationOptions, rays: int, description: str) -> MethodSpecification:
    """Return a method ``ns-train NAME`` for photographs, with nerfstudio's data manager and data parsers.

    Args:
        name: name of the method.
        model: config of the method's model.
        rays: number of rays per batch.
        description: description for the help text.
    """
    return MethodSpecification(
        config=PhotoTrainerConfig(
            method_name=name,
            max_num_iterations=3000,
            steps_per_save=600,
            steps_per_eval_batch=100,
            steps_per_eval_image=1000,
            steps_per_eval_all_images=3000,
            pipeline=PhotoPipelineConfig(
                datamanager=VanillaDataManagerConfig(
                    dataparser=NerfstudioDataParserConfig(),
                    train_num_rays_per_batch=rays,
                    eval_num_rays_per_batch=rays,
                ),
                model=model,  # type: ignore[arg-type]
            ),
            optimizers=optimizers(FieldOptimizerConfig(lr=5e-4)),
            logging=LoggingConfig(
                steps_per_log=100, profiler="none", local_writer=LocalWriterConfig(enable=True, max_log_size=0)
            ),
            viewer=ViewerConfig(websocket_host="127.0.0.1"),
            vis="tensorboard",
        ),
        description=description,
    )


winner_neus = photo_method(
    "winner-neus",
    WinnerNeuSModelConfig(),
    512,
    "Fit the surface of an object to photographs: NeuS with sine networks and WINNER's initialisation.",
)
winner_nerf = photo_method(
    "winner-nerf",
    WinnerNeRFModelConfig(),
    1024,
    "Fit a radiance field to photographs: a small NeRF with a sine network and WINNER's initialisation.",
)

# For each method that it offers to install, nerfstudio asks which function has called it. The lines of source of all
# callers, which it would get as well, take as long as a fifth of all its imports.
external_methods.inspect = SimpleNamespace(stack=partial(inspect.stack, 0))  # type: ignore[attr-defined, assignment]

# The half a million objects of nerfstudio's imports live as long as the process. Python's garbage collector would look
# through all of them again while the options are read, which takes a quarter of a second.
gc.freeze()
atexit.register(gc.unfreeze)  # libraries look at the end for objects that have not been removed
