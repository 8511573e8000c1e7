"""Network, objective and optimizer on their devices, and the one step that changes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricOptimizer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from facedistill.data.batches.augmentation import Augmentation
from facedistill.data.batches.augmentation_options import AugmentationOptions
from facedistill.data.batches.loader import ImageBatch
from facedistill.data.batches.mirroring import mirror_flags
from facedistill.distill.method import DistillationBatch
from facedistill.loss import LossAndFigures
from facedistill.models.features import FeatureTap
from facedistill.models.layers import channels_last
from facedistill.ranks import mean_over_ranks, rank, ranks
from facedistill.training.average import RunningAverage
from facedistill.training.epoch_plan import EpochPlan
from facedistill.training.meter import Meter
from facedistill.training.objective import EmbeddingStep, Objective
from facedistill.training.optimization import clip_gradients, make_optimizer
from facedistill.training.state import Progress, TrainingState
from facedistill.training.teaching import Lesson
from facedistill.training.training import Training

# Steps in a row that a gradient scaler may leave out before the gradient counts as not finite.
SKIPPED_BY_SCALER = 100


class Engine:
    """Takes training steps.

    Args:
        training: what the run consists of; its backbone and objective are moved to the device.

    Attributes:
        state: all that the steps change.
    """

    def __init__(self, training: Training) -> None:
        options, fabric = training.options, training.fabric
        self._training = training
        self._fabric = fabric
        backbone = channels_last(training.backbone) if options.channels_last else training.backbone
        self._augmentation = None
        if options.augmentation != AugmentationOptions():
            self._augmentation = Augmentation(options.augmentation, training.preprocessing.size)
        embed = EmbeddingStep(backbone, training.preprocessing)
        objective = training.objective.to(fabric.device)
        if options.compile:
            backbone.compile(dynamic=False)  # batches come in two sizes at most; code for any size is slower
        optimizer = make_optimizer((embed, objective), options)
        self._embed = fabric.setup_module(embed)
        self._objective = distribute(objective, fabric.device)
        self._optimizer = cast(_FabricOptimizer, fabric.setup_optimizers(optimizer))
        objective.attach(optimizer)
        average = RunningAverage(backbone, options.ema) if options.ema else None
        meter = Meter(
            fabric.device,
            bad_gradients=SKIPPED_BY_SCALER if options.precision == "16" else 1,
            whole_batch=objective.whole_batch,
        )
        self._tap = FeatureTap(backbone) if objective.needs_features else None
        self.state = TrainingState(fabric, backbone, objective, optimizer, average, meter, Progress())

    def step(self, batches: Sequence[tuple[int, ImageBatch]], plan: EpochPlan, *, rate: float) -> None:
        """Forward and backward of one batch or, where gradients are accumulated, of several; then the update.

        Args:
            batches: of this process, with their numbers in the plan.
            plan: of the epoch.
            rate: the learning rate.
        """
        state = self.state
        number = state.progress.step + 1
        self._embed.train()
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        for place, batch in batches:
            with self._gradients_stay_here(place != batches[-1][0]):
                output, embeddings = self._forward(batch, plan, int(plan.seeds[place]))
                if place == batches[0][0]:
                    # Kept until here on the CPU, where memory that is given back and asked for again takes time.
                    self._optimizer.zero_grad()
                self._fabric.backward(output.loss / len(batches))
            state.meter.add(output, embeddings, number)
        self._fabric.strategy.precision.unscale_gradients(state.optimizer)
        norm = clip_gradients(
            state.optimizer, state.objective.sharded_parameters(), max_norm=self._training.options.clip_norm
        )
        state.meter.add_gradient(norm, number)
        self._optimizer.step()
        if self._fabric.device.type == "cuda":
            self._optimizer.zero_grad()  # there memory is dear, and its allocator quick
        # Each process has seen its own images; from here on, whatever is evaluated, averaged or saved is the same.
        mean_over_ranks([buffer for buffer in state.backbone.buffers() if buffer.is_floating_point()])
        if state.average is not None:
            state.average.update(state.backbone)

    def _forward(self, batch: ImageBatch, plan: EpochPlan, seed: int) -> tuple[LossAndFigures, torch.Tensor]:
        """Loss and figures, and the embeddings (B, D) float32, of one batch."""
        training = self._training
        flags = mirror_flags(batch.indices, plan.mirrored) & training.options.mirror
        identities = training.dataset.labels[batch.indices]
        labels = to_device(self._fabric, identities)
        torch.manual_seed(seed + rank())  # augmentation: other images, other changes
        views = self._views(to_device(self._fabric, batch.images), to_device(self._fabric, flags))
        embeddings = self._embed(views).float()
        features = None if self._tap is None else self._tap.take()
        lesson = None if training.teacher is None else training.teacher.lesson(batch.indices, flags, views)
        if lesson is None:
            lesson = Lesson(embeddings.new_zeros(len(embeddings), 0))
        torch.manual_seed(seed)  # mining and sampled classes: the same choice in all processes
        of_batch = DistillationBatch(
            embeddings,
            lesson.embeddings,
            labels,
            features,
            lesson.features,
            lesson.images,
            largest_identity=int(np.unique(identities, return_counts=True)[1].max()),
        )
        return cast(LossAndFigures, self._objective(of_batch)), embeddings

    @torch.no_grad()
    def _views(self, images: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """Crops (B, S, S, 3) uint8 RGB as the networks get to see them: mirrored where (B,) bool says so, augmented."""
        views = torch.where(mirrored[:, None, None, None], images.flip(2), images)
        return views if self._augmentation is None else self._augmentation(views)

    @contextmanager
    def _gradients_stay_here(self, enabled: bool) -> Iterator[None]:
        """Leave the averaging of gradients over the processes to the last of the batches that make a step."""
        with ExitStack() as stack:
            if enabled and ranks() > 1:
                stack.enter_context(self._fabric.no_backward_sync(self._embed))
                if isinstance(self._objective, DistributedDataParallel):
                    stack.enter_context(self._objective.no_sync())
            yield


def distribute(objective: Objective, device: torch.device) -> nn.Module:
    """The objective, with the gradients of what is the same in all processes averaged over them.

    Not by Fabric, whose wrapper would round the embeddings to the precision of the backbone.
    """
    trained = any(parameter.requires_grad for parameter in objective.parameters())
    if ranks() == 1 or not trained or any(True for _ in objective.sharded_parameters()):
        return objective
    return DistributedDataParallel(objective, device_ids=[device.index] if device.type == "cuda" else None)


def to_device(fabric: Fabric, array: npt.NDArray[Any]) -> torch.Tensor:
    """Copy an array to the run's device, without waiting for the copy on CUDA."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if fabric.device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(fabric.device, non_blocking=True)
