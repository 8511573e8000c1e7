"""The training loop: steps over batches, records, evaluations and saves, taken up again at any step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch

from facedistill.checkpoint import Checkpoint, save_checkpoint
from facedistill.data.batches.loader import BatchLoader, ImageBatch
from facedistill.data.corrupt_images import CorruptImages
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import TrainingError
from facedistill.launcher import launched
from facedistill.processors import available_processors
from facedistill.ranks import of_every, of_first, rank, ranks
from facedistill.training import saved
from facedistill.training.clock import Clock
from facedistill.training.engine import Engine
from facedistill.training.epoch_plan import EpochPlan, count_steps
from facedistill.training.final_look import look_at_result
from facedistill.training.guards import Guards
from facedistill.training.interruption import Interruption, watch_for_interruption
from facedistill.training.listeners import Record
from facedistill.training.loggers import Status
from facedistill.training.preparation import provenance_of
from facedistill.training.processes import agree, agreement_group
from facedistill.training.saving import Saver, attempt
from facedistill.training.schedule import make_schedule
from facedistill.training.training import Training

# Steps between two looks at whether all is still finite, and at the figures to show; each waits for the device.
LOOK_INTERVAL = 25
# Steps after which a head should have learned something, if warm-up and an epoch more are over; ours.
LEARNT_NOTHING = 200
# Threads or processes that decode images unless told otherwise, or one a processor where there are fewer.
MOST_WORKERS = 8


def fit(training: Training) -> list[Record]:
    """Train to the end and return the records; the run folder holds the weights.

    A run that was interrupted at any step and resumed gives the weights and records of an unbroken one, bit for bit
    on the same CPU.

    Raises:
        TrainingError: the loss or the gradient is no longer finite, or the result cannot be written.
        DataError: more images are corrupt than `max_corrupt` allows.
        ModelFileError: the run is resumed, and no saved state is whole.
        KeyboardInterrupt: it was interrupted, and saved.
    """
    with ExitStack() as stack:
        loop = TrainingLoop(training)
        stack.enter_context(training.run.locked())
        training.config.setdefault("run", {})["total_steps"] = loop.total_steps
        if training.run.resumed:
            loop.resume()
        else:
            training.run.write_config(training.config)
        loop.loader = stack.enter_context(make_loader(training))
        loop.interruption = stack.enter_context(watch_for_interruption(loop.note))
        stack.enter_context(loop.logged())
        while not loop.progress.finished:
            loop.train_epoch()
        loop.conclude()
    return loop.progress.records


def make_loader(training: Training) -> BatchLoader:
    """Threads decode for the CPU, which is busy with training anyway, processes for a GPU, unless told otherwise."""
    workers = training.options.workers
    at_most = max(1, min(MOST_WORKERS, available_processors() // launched().ranks_here))
    processes = (at_most if training.fabric.device.type == "cuda" else 0) if workers is None else workers
    return BatchLoader(training.dataset, training.preprocessing, processes=processes, threads=at_most)


class TrainingLoop:
    """One run, from step to step.

    Args:
        training: what it consists of.

    Attributes:
        progress: how far it is.
        interruption: whether somebody has asked to stop.
        loader: gives the batches.
    """

    loader: BatchLoader

    def __init__(self, training: Training) -> None:
        options = training.options
        self.training = training
        self.options = options
        self.listeners = training.listeners.of_process(first=rank() == 0)
        self.interruption = Interruption()
        steps = count_steps(training.sampler, options)
        self.total_steps = options.epochs * steps
        warmup_steps = round(options.warmup_epochs * steps)
        self.rate_of = make_schedule(
            options.schedule,
            base=options.lr,
            total_steps=self.total_steps,
            warmup_steps=warmup_steps,
            steps_per_epoch=steps,
            milestones=options.milestones,
            gamma=options.gamma,
            power=options.power,
            floor=options.lr_floor,
        )
        self.engine = Engine(training)
        self.state = self.engine.state
        self.progress = self.state.progress
        self.group = agreement_group()
        self.saver = Saver(training, self.state, self.checkpoint, self.group)
        self.corrupt = CorruptImages(len(training.dataset), options.max_corrupt, training.run.corrupt_images(rank()))
        self.guards = Guards(
            self.note, chance=self.state.objective.chance, patience_steps=max(warmup_steps + steps, LEARNT_NOTHING)
        )
        self.clock = Clock()
        self.examined = False

    def resume(self) -> None:
        """Go on from the newest state that is whole.

        Raises:
            ModelFileError: there is none.
        """
        self.saver.take_up()
        self.corrupt.take_over()
        progress, patience = self.progress, self.options.patience
        if (
            progress.stopped
            and progress.epoch < self.options.epochs
            and (patience is None or progress.worse < patience)
        ):
            progress.stopped = progress.finished = False
        if progress.finished:
            self.note("the run is finished, and nothing is left to do")

    def note(self, message: str) -> None:
        """Tell what goes wrong, or was done about it."""
        if self.listeners.note is not None:
            self.listeners.note(message)

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Have the loggers know when the run begins and how it ends."""
        status: Status = "failed"
        try:
            for logger in self.listeners.loggers:
                logger.start(self.training.config, self.training.run.path, self.training.run.resumed)
            yield
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            for logger in self.listeners.loggers:
                logger.finish(status)

    def train_epoch(self) -> None:
        """The steps that are left of the epoch in progress.

        Raises:
            TrainingError: something is no longer finite.
            KeyboardInterrupt: somebody asked to stop; the state is saved.
        """
        progress, size = self.progress, self.options.accumulate
        plan = EpochPlan.make(self.training.sampler, self.options, progress.epoch, len(self.training.dataset))
        steps = len(plan.batches) // size
        images = self.loader.batches(plan.batches[progress.epoch_step * size : steps * size])
        self.clock.begin()
        for number in range(progress.epoch_step, steps):
            batches = [(place, self.next_batch(images)) for place in range(number * size, (number + 1) * size)]
            self.engine.step(batches, plan, rate=self.rate_of(progress.step))
            progress.step += 1
            progress.epoch_step = number + 1
            if number + 1 == steps:
                progress.epoch, progress.epoch_step = progress.epoch + 1, 0
            self.after_step()
            if progress.stopped:
                break
        progress.finished = progress.stopped or progress.epoch >= self.options.epochs

    def next_batch(self, images: Iterator[ImageBatch]) -> ImageBatch:
        """The next batch, waited for; its corrupt images are noted."""
        with self.clock.waiting():
            batch = next(images)
        if batch.corrupt:
            self.corrupt.add({self.training.dataset.key(index): cause for index, cause in batch.corrupt.items()})
        self.clock.images += len(batch.indices)
        return batch

    def after_step(self) -> None:
        """Look, record, evaluate and save, as it is due."""
        options, progress = self.options, self.progress
        end_of_epoch = progress.epoch_step == 0
        last = progress.epoch >= options.epochs
        if self.listeners.progress:
            self.listeners.progress(progress.step, self.total_steps)
        evaluated = end_of_epoch if options.eval_every is None else progress.step % options.eval_every == 0
        recorded = last or evaluated or end_of_epoch or progress.step % options.log_every == 0
        if recorded or progress.step % LOOK_INTERVAL == 0:
            self.require_finite()
            if not recorded and self.listeners.status:
                self.listeners.status(self.make_record(self.state.meter.figures(of_all=False)))
        if last:
            self.examine()  # before the last evaluation, which is of what is saved
        if recorded:
            self.record(evaluate=last or evaluated)
        due = rank() == 0 and self.saver.due(end_of_epoch=end_of_epoch)
        interrupted, save = agree([int(self.interruption.asked), int(due)], self.group)
        if last or progress.stopped:
            return  # `conclude` saves
        if interrupted or save:
            self.require_finite()
            with self.clock.excluding():
                self.saver.save(must=bool(interrupted))
        if interrupted:
            raise KeyboardInterrupt(
                f"the run is saved after step {progress.step} of {self.total_steps}; --resume yes goes on from there"
            )

    def make_record(self, figures: dict[str, float]) -> Record:
        """A record of the figures since the last one."""
        progress = self.progress
        record: Record = {
            "step": progress.step,
            "epoch": progress.epoch + (progress.epoch_step > 0),
            "lr": self.rate_of(progress.step - 1),
            **figures,
            **self.clock.figures(),
        }
        device = self.training.fabric.device
        if device.type == "cuda":
            record["gpu_memory"] = torch.cuda.max_memory_allocated(device)
        return record

    def record(self, *, evaluate: bool) -> None:
        """Write a record, evaluated where that is due; see to the best weights and to what goes wrong."""
        record = self.make_record(self.state.meter.figures())
        images = self.clock.images * ranks()
        if evaluate and self.listeners.follow is not None:
            # Of the first process for all: a bit of difference must not make one of them stop alone.
            record |= of_first(self.listeners.follow(self.embedder()))
        self.progress.records.append(record)
        self.state.meter.restart()
        if rank() == 0:
            self.try_to_write("the record", lambda: self.training.run.append_record(record))
        if self.listeners.status:
            self.listeners.status(record)
        if self.listeners.on_record:
            self.listeners.on_record(record)
        for logger in self.listeners.loggers:
            logger.log(record)
        self.guards.look(record, images)
        if "accuracy" in record:
            self.judge(record["accuracy"])
        self.clock = Clock()

    def judge(self, accuracy: float) -> None:
        """Keep the weights if they are the best so far; stop where patience is at an end."""
        progress = self.progress
        best = self.training.run.best_checkpoint
        if progress.best is None or accuracy > progress.best:
            progress.best, progress.worse = accuracy, 0
            if rank() == 0:
                self.try_to_write("the best weights", lambda: save_checkpoint(best, self.checkpoint()))
        else:
            progress.worse += 1
        if self.options.patience is not None and progress.worse >= self.options.patience:
            progress.stopped = True
            self.note(
                f"step {progress.step}: the last {progress.worse} evaluations were no better than the best, "
                f"so training ends here; the best weights are {best}"
            )

    def try_to_write(self, what: str, work: Callable[[], None]) -> None:
        """Write what training can go on without: the records are written again with every save."""
        problem = attempt(work)
        if problem is not None:
            self.note(f"{what} of step {self.progress.step} could not be written ({problem}); training goes on")

    def embedder(self) -> TorchEmbedder:
        """The network as it is."""
        training = self.training
        return TorchEmbedder(
            self.state.final_backbone,
            training.preprocessing,
            training.spec.embedding_size,
            name="student",
            device=training.fabric.device,
        )

    def checkpoint(self) -> Checkpoint:
        """The weights as they are to be used."""
        training = self.training
        facts = {"epoch": self.progress.epoch + (self.progress.epoch_step > 0), "step": self.progress.step}
        return Checkpoint(
            backbone=self.state.final_backbone,
            spec=training.spec,
            preprocessing=training.preprocessing,
            provenance={**provenance_of(training.config), **facts},
        )

    def require_finite(self) -> None:
        """Stop the run if some step's loss or gradient was not finite; all processes call this together."""
        bad = self.state.meter.first_bad_step()
        if bad is None:
            return
        what, step = bad
        weights = self.training.run.last_checkpoint
        next_step = f"The last good weights are in {weights}. " if weights.is_file() else ""
        raise TrainingError(
            f"the {what} is no longer finite since step {step} (learning rate {self.rate_of(step - 1):.3g})",
            place=self.training.run.path,
            next_step=next_step + "Try a lower --lr or a longer --warmup-epochs",
        )

    def examine(self) -> None:
        """Look at the finished network, once."""
        if self.examined:
            return
        self.examined = True
        with self.clock.excluding():
            found = look_at_result(self.training, self.state.final_backbone, self.loader)
        if found is not None:
            self.note(found)

    def conclude(self) -> None:
        """Save the finished network, and tell what was left out."""
        newest = saved.read_manifest(self.training.run.path / saved.LAST)
        concluded = self.training.run.resumed and newest is not None and newest["step"] == self.progress.step
        if not of_first(concluded):
            self.examine()
            self.saver.save(must=True)
        counts = of_every(len(self.corrupt))
        summary = self.corrupt.summary("replaced by others")
        if summary is not None:
            self.note(summary)
        if sum(counts) > counts[0]:
            self.note(f"the other processes replaced {sum(counts[1:])} corrupt images; see corrupt-1.csv and so on")
