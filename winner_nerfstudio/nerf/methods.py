"""The methods that ``ns-train`` offers.

Imported for every method of nerfstudio's, so it imports no heavy library; what it imports must not fail.
"""

from nerfstudio.configs.base_config import LocalWriterConfig, LoggingConfig, ViewerConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from nerfstudio.plugins.types import MethodSpecification

from .datamanager import SignalDataManagerConfig
from .dataparsers import ShapeDataParserConfig
from .pipeline import SignalPipelineConfig
from .schedulers import CosineDecayConfig
from .sdf import SDFModelConfig
from .trainer import SignalTrainerConfig

winner_sdf = MethodSpecification(
    config=SignalTrainerConfig(
        method_name="winner-sdf",
        max_num_iterations=1000,
        steps_per_save=200,
        steps_per_eval_batch=100,
        steps_per_eval_image=500,
        pipeline=SignalPipelineConfig(
            datamanager=SignalDataManagerConfig(dataparser=ShapeDataParserConfig()),
            model=SDFModelConfig(),
        ),
        optimizers={
            "fields": {"optimizer": AdamOptimizerConfig(lr=5e-4, eps=1e-8), "scheduler": CosineDecayConfig()},
        },
        logging=LoggingConfig(profiler="none", local_writer=LocalWriterConfig(enable=False)),
        viewer=ViewerConfig(websocket_host="127.0.0.1"),
        vis="tensorboard",
    ),
    description="Fit a sine network with WINNER's initialisation to a shape's signed distance.",
)
