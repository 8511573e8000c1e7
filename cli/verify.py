"""`facedistill verify`: two photos, one person or two."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from . import options as o


def verify(
    first: Annotated[Path, typer.Argument(metavar="A", help="A photo.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another photo.", show_default=False)],
    model: Annotated[
        Path, typer.Option(metavar="F", help="A run folder, a checkpoint, published weights or an .onnx file.")
    ],
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="COSINE", help="Above it the faces are one person's; else one saved in the model is used."
        ),
    ] = None,
    far: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Of the saved thresholds, that of this FAR; else the strictest."),
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="The photos are aligned crops already: look for no face.")
    ] = False,
    detector: Annotated[str, typer.Option(help="The face detector; see `facedistill detectors`.")] = "mtcnn",
    detector_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The detector's weights, where it needs a file.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Show both photos with the faces found (.png, .jpg).")
    ] = None,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    device: o.Device = "auto",
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Are two photos of the same person? The score, the threshold, and where the threshold came from.

    The exit status is 0 either way; --json says which.
    """
    from facedistill.errors import UsageError
    from facedistill.two_photos.picture import check_picture_path

    if draw is not None:
        check_picture_path(draw)
        if aligned:
            raise UsageError("--draw shows the faces found, and with --aligned none is looked for")
    from facedistill.align.detectors import DETECTORS
    from facedistill.counted import counted
    from facedistill.data.images import read_image
    from facedistill.embedders.load import load_embedder
    from facedistill.export.saved_thresholds import read_thresholds
    from facedistill.two_photos.decision import Decision, choose_threshold, cosine_of_faces
    from facedistill.two_photos.find_face import find_face
    from facedistill.two_photos.picture import draw_faces

    saved = read_thresholds(model) if model.suffix == ".onnx" and model.is_file() else []
    chosen = choose_threshold(threshold, saved, far)
    embedder = load_embedder(model, device=device, color=color, mean=mean, std=std, note=console.note)
    size = embedder.preprocessing.size
    if aligned:
        crops = [embedder.preprocessing.resize(read_image(photo)[None])[0] for photo in (first, second)]
    else:
        finder = DETECTORS[detector](file=detector_file, device=device)
        faces = [find_face(photo, finder, size) for photo in (first, second)]
        crops = [face.crop for face in faces]
        for face in faces:
            if face.others:
                more = counted(face.others, "more face", "more faces")
                console.note(f"{face.path} shows {more}; the one that is large and near the middle is compared")
        if draw is not None:
            draw_faces(faces, draw)
    decision = Decision(cosine_of_faces(embedder, crops[0], crops[1]), chosen)
    console.say(decision.sentence(), quiet=quiet)
    if decision.threshold is None:
        console.note(
            "no threshold is known, and so no verdict; give --threshold, or save one: facedistill threshold --save"
        )
    console.write_json(
        json_file,
        {"model": embedder.name, "model_sha256": embedder.fingerprint, "photos": [str(first), str(second)]}
        | decision.to_dict(),
    )
