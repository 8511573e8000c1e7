"""The names of samples in shards: WebDataset takes all behind the first dot of a name for its type."""

from __future__ import annotations

import re

from facedistill.data.images import IMAGE_SUFFIXES
from facedistill.errors import DataError
from facedistill.shown_name import shown_name

_IMAGE_TYPES = frozenset(suffix[1:] for suffix in IMAGE_SUFFIXES)


def split_name(name: str) -> tuple[str, str]:
    """A member's name as (key, type): `anna/1.left.jpg` is `anna/1` of type `left.jpg`, the type in lower case.

    Both are empty for what is no part of a sample: a hidden file, a file without a suffix, WebDataset's `__meta__`.
    """
    while name.startswith("./"):
        name = name[2:]
    last = name.rfind("/") + 1
    dot = name.find(".", last)
    if dot <= last or (not last and name.startswith("__") and name.endswith("__")):
        return "", ""
    return name[:dot], name[dot + 1 :].lower()


def is_image_type(kind: str) -> bool:
    """Whether members of this type are the image of their sample."""
    return kind in _IMAGE_TYPES


def leads_out(name: str) -> bool:
    """Whether a name leads out of the data set, as `../x` and `/x` do."""
    return name.startswith("/") or (".." in name and ".." in name.split("/"))


def image_key(sample: str, kind: str) -> str:
    """The key of a data set's image whose sample and type these are; the reverse of `sample_of`.

    Raises:
        DataError: the key leads out of the data set, see `leads_out`.
    """
    if leads_out(sample):
        raise DataError(
            f"the sample '{shown_name(sample)}' has a name that leads out of the data set",
            next_step="Write the tar again with names such as anna/1.jpg: without '..' and not from '/'",
        )
    if "%" not in sample:
        return f"{sample}.{kind}"
    folder, slash, last = sample.rpartition("/")
    last = re.sub("%2E|%25", lambda match: "." if match.group() == "%2E" else "%", last)
    suffix = f".{kind}"
    return folder + slash + (last if last.endswith(suffix) and len(last) > len(suffix) else last + suffix)


def sample_of(key: str, suffix: str, *, whole: bool = False) -> str:
    """The sample that holds the image of a key, so that `image_key` gives the key back.

    A dot in the last part is written %2E, and a % before 2E or 25 is written %25.

    Args:
        key: the image's key, such as anna/1.jpg.
        suffix: .jpg or another that the key ends in, "" where it has none.
        whole: keep the suffix, as where two images differ in nothing else.
    """
    stem = key.removesuffix(suffix) if suffix else key
    if whole or (suffix and stem.endswith(suffix) and stem.rpartition("/")[2] != suffix):
        stem = key
    folder, slash, last = stem.rpartition("/")
    return folder + slash + re.sub("%(?=2E|25)", "%25", last).replace(".", "%2E")
