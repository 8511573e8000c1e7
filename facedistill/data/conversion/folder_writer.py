"""Write a data set as a folder of image files, one sub-folder a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from facedistill.data.conversion.names import SafeNames
from facedistill.data.conversion.stored_bytes import stored_bytes
from facedistill.data.dataset import FaceDataset
from facedistill.errors import DataError


def write_image_folder(
    dataset: FaceDataset, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Write the stored bytes of every image as `folder/identity/name.suffix`; nothing is encoded anew.

    The name is the last part of the image's key, with a suffix by its content where it has none of an image. Names
    that are not safe to write are changed, as `SafeNames` says. No file is ever overwritten.

    Args:
        dataset: any data set.
        folder: where the people's folders go; made where it is missing.
        progress: told the images written and to write.

    Returns:
        The path of each image relative to `folder`, with forward slashes.

    Raises:
        DataError: an image cannot be read or written, or has no bytes; what was written before stays.
    """
    names = SafeNames()
    paths: list[str] = []
    made: set[Path] = set()
    for index in range(len(dataset)):
        encoded = stored_bytes(dataset, index)
        name = names.file(dataset.identities[int(dataset.labels[index])], dataset.key(index), encoded)
        path = folder / name
        try:
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            with path.open("xb") as stream:
                stream.write(encoded)
        except OSError as error:
            raise DataError(f"the image cannot be written ({error.strerror})", place=path) from error
        paths.append(name)
        if progress is not None:
            progress(index + 1, len(dataset))
    return paths
