"""`facedistill embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o


def embed(
    data: o.Data,
    model: Annotated[Path, typer.Option(metavar="M", help="A run, a checkpoint or an ONNX file.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Cache to write (.safetensors).")],
    identities: o.Identities = None,
    exclude: o.Exclude = None,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    batch_size: Annotated[int, typer.Option(help="Images a call of the network.")] = 64,
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
    """Embed every crop and its mirror image once, for all the students that learn from this model."""
    from facedistill.data.corrupt_images import CorruptImages
    from facedistill.embedders.cache import make_cache, save_cache
    from facedistill.embedders.embed_dataset import embed_dataset
    from facedistill.embedders.load import load_embedder
    from facedistill.errors import UsageError

    from .console import note, progress, say, write_json
    from .training import open_training_data

    if out.suffix != ".safetensors":
        raise UsageError("a cache is a .safetensors file", place=out)
    if out.exists() and not overwrite:
        raise UsageError("the file exists", place=out, next_step="Use --overwrite, or another name")
    embedder = load_embedder(model, device=device, color=color, mean=mean, std=std, note=note)
    dataset = open_training_data(data, identities, exclude, quiet=quiet)
    corrupt = CorruptImages(len(dataset), max_corrupt)
    with progress("embedding", quiet=quiet) as on_batch:
        embedded = embed_dataset(
            embedder,
            dataset,
            batch_size=batch_size,
            progress=on_batch,
            on_corrupt=lambda key, error: corrupt.add({key: error.cause}),
        )
    summary = corrupt.summary("left without an embedding")
    if summary is not None:
        note(summary)
    save_cache(out, make_cache(embedder, dataset, embedded))
    say(f"{len(dataset)} images, {embedder.embedding_size} dimensions, written to {out}", quiet=quiet)
    write_json(
        json_file,
        {
            "cache": str(out),
            "images": len(dataset),
            "corrupt": len(corrupt),
            "embedding_size": embedder.embedding_size,
            "model_fingerprint": embedder.fingerprint,
            "dataset_fingerprint": dataset.fingerprint,
        },
    )
