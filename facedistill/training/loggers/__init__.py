"""Where else a run's figures go: TensorBoard and the services that keep runs, each by registry name and optional."""

from facedistill.training.loggers import mlflow, tensorboard, trackio, wandb
from facedistill.training.loggers.background import Background
from facedistill.training.loggers.make_loggers import make_loggers
from facedistill.training.loggers.run_logger import LOGGERS, RunLogger, Status

__all__ = [
    "LOGGERS",
    "Background",
    "RunLogger",
    "Status",
    "make_loggers",
    "mlflow",
    "tensorboard",
    "trackio",
    "wandb",
]
