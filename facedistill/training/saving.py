"""Save the state of a run from all its processes, and take up the newest one that is whole."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import distributed

from facedistill.checkpoint import Checkpoint
from facedistill.errors import ModelFileError, TrainingError, UsageError
from facedistill.ranks import of_first, rank, ranks
from facedistill.training import saved
from facedistill.training.curves import plot_curves
from facedistill.training.processes import agree
from facedistill.training.state import TrainingState
from facedistill.training.training import Training

# Seconds between two drawings of the curves, each of which takes about one.
DRAW_INTERVAL = 60.0
# Seconds that an epoch has to be after the last save for its end to be a reason for another.
SHORTEST = 30.0


class Saver:
    """Knows when a save is due, and makes it.

    Args:
        training: what the run consists of.
        state: what is saved.
        checkpoint: gives the weights as they are to be used.
        group: of the processes, for what they have to agree on.
    """

    def __init__(
        self,
        training: Training,
        state: TrainingState,
        checkpoint: Callable[[], Checkpoint],
        group: distributed.ProcessGroup | None,
    ) -> None:
        self._run = training.run
        self._options = training.options
        self._note = training.listeners.of_process(first=rank() == 0).note
        self._state = state
        self._checkpoint = checkpoint
        self._group = group
        self._saved_at = time.monotonic()
        self._drawn_at = float("-inf")

    def due(self, *, end_of_epoch: bool) -> bool:
        """Whether this process finds that it is time; its clock decides, so that the processes have to agree."""
        every = self._options.save_every
        if every is not None and self._state.progress.step % every == 0:
            return True
        seconds = time.monotonic() - self._saved_at
        return seconds > 60 * self._options.save_minutes or (end_of_epoch and seconds > SHORTEST)

    def save(self, *, must: bool) -> None:
        """Save; all processes call this together. Where it fails, the states before stay.

        Args:
            must: whether a failure ends the run; otherwise it is told, and training goes on.

        Raises:
            TrainingError: it failed and had to succeed.
        """
        path, own = self._run.path, self._state.to_dict()
        problem = None
        if rank() == 0:
            problem = attempt(lambda: saved.write_state(saved.begin(path), own))
        barrier()
        if rank() != 0 and own:
            problem = attempt(lambda: saved.write_state(saved.partial_folder(path), own, rank()))
        failed = agree([int(problem is not None)], self._group)[0]
        if rank() == 0 and not failed:
            problem = attempt(lambda: self._finish(draw=must))
        if rank() == 0 and (failed or problem is not None):
            saved.abandon(path)
        self._saved_at = time.monotonic()
        if not agree([int(problem is not None)], self._group)[0]:
            return
        message = (
            f"the state after step {self._state.progress.step} could not be saved "
            f"({problem or 'another process could not write'})"
        )
        if not must:
            if self._note is not None:
                self._note(f"{message}; training goes on, and the next save tries again")
            return
        kept = saved.candidates(path)
        raise TrainingError(
            message,
            place=path,
            next_step=(f"The state before it is in {kept[0]}. " if kept else "")
            + "Free some space, and go on with --resume yes",
        )

    def _finish(self, *, draw: bool) -> None:
        """What follows once every process has written its part."""
        records = self._state.progress.records
        saved.finish(self._run.path, self._state.progress.step, self._checkpoint(), keep=self._options.keep)
        self._run.write_records(records)
        if records and (draw or time.monotonic() - self._drawn_at > DRAW_INTERVAL):
            problem = attempt(lambda: plot_curves(records, self._run.path / "curves.png"))
            if problem is not None and self._note is not None:
                self._note(f"the curves could not be drawn ({problem})")
            self._drawn_at = time.monotonic()

    def take_up(self) -> None:
        """Restore the newest state that is whole; all processes call this together.

        Raises:
            ModelFileError: there is none.
            UsageError: it is of another number of processes.
        """
        newest = self._find_newest()
        common = newest.load()
        if common["processes"] != ranks():
            raise UsageError(
                f"the run was saved by {common['processes']} process(es), and {ranks()} would resume it",
                place=newest.folder,
                next_step="Start as many as before",
            )
        try:
            self._state.restore(common, newest.load(rank()) if self._state.in_parts else common)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"the saved state is of another network or version ({' '.join(str(error).split())})",
                place=newest.folder,
                next_step="Begin again with --overwrite; the weights may serve as --init",
            ) from error
        if rank() == 0:
            saved.put_newer_aside(self._run.path, newest)
            self._run.write_records(self._state.progress.records)

    def _find_newest(self) -> saved.SavedState:
        """The first process looks for all of them: they must not take up different states, nor check all files each."""
        found: saved.SavedState | ModelFileError | None = None
        if rank() == 0:
            try:
                found = saved.newest_state(self._run.path, self._note)
            except ModelFileError as error:
                found = error
        found = of_first(found)
        if not isinstance(found, saved.SavedState):
            raise found or AssertionError
        return found


def barrier() -> None:
    """Wait for the other processes."""
    if ranks() > 1:
        distributed.barrier()


def attempt(work: Callable[[], None]) -> str | None:
    """Do the work; what went wrong if the disk did not take it, None if all is well."""
    try:
        work()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None
