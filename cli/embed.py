"""`facedistill embed`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from . import options as o


def embed(
    data: o.Data,
    model: Annotated[Path, typer.Option(metavar="M", help="A run, a checkpoint, published weights or an ONNX file.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="CACHE", help="Folder to write, or to go on with.")],
    identities: o.Identities = None,
    exclude: o.Exclude = None,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    batch_size: o.BatchSize = 64,
    max_corrupt: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Stop where more than this share of the images is corrupt.",
        ),
    ] = 0.01,
    device: o.Device = "auto",
    overwrite: o.Overwrite = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Embed every crop and its mirror image once, for all the students that learn from this model.

    After an interruption the same command goes on where it was. Several processes (torchrun, srun) share the images.
    """
    from facedistill.data.corrupt_images import CorruptImages
    from facedistill.embedders.cache_writer import write_cache
    from facedistill.embedders.load import load_embedder
    from facedistill.launcher import launched

    from .console import note, progress, say, write_json
    from .training import open_training_data

    if launched().ranks > 1:
        from facedistill.training.processes import join_processes

        join_processes(device, "32")
    embedder = load_embedder(model, device=device, color=color, mean=mean, std=std, note=note)
    dataset = open_training_data(data, identities, exclude, quiet=quiet)
    corrupt = CorruptImages(len(dataset), max_corrupt)
    with told_what_is_kept(), progress("embedding", quiet=quiet) as on_batch:
        cache = write_cache(
            embedder,
            dataset,
            out,
            batch_size=batch_size,
            overwrite=overwrite,
            progress=on_batch,
            on_corrupt=lambda key, error: corrupt.add({key: error.cause}),
            note=note,
        )
    summary = corrupt.summary("left without an embedding")
    if summary is not None:
        note(summary)
    say(f"{len(dataset)} images, {cache.embedding_size} dimensions, written to {out}", quiet=quiet)
    write_json(
        json_file,
        {
            "cache": str(out),
            "images": len(dataset),
            "corrupt": len(corrupt),
            "embedding_size": cache.embedding_size,
            "model_fingerprint": cache.model_fingerprint,
            "dataset_fingerprint": cache.dataset_fingerprint,
        },
    )


@contextmanager
def told_what_is_kept() -> Iterator[None]:
    """Within this, an interruption says that the work goes on, and another process's end that it has ended."""
    from facedistill.launcher import launched

    with ExitStack() as stack:
        if launched().ranks > 1:
            from facedistill.training.processes import others_may_end

            stack.enter_context(others_may_end())
        try:
            yield
        except KeyboardInterrupt as interruption:
            raise KeyboardInterrupt("what is embedded is kept. Run the same command again to go on") from interruption
