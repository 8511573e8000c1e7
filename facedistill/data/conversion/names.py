"""File names that are safe to write, made from names that came out of somebody else's file."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import PurePosixPath

from facedistill.data.image_header import image_suffix
from facedistill.data.images import IMAGE_SUFFIXES

LONGEST_PART = 200
"""Bytes of one part of a path; file systems allow 255, and a number may have to be added."""

LONGEST_FOLDER = 800
"""Bytes of an identity's folder; longer ones become one part."""

# What Windows forbids in a name, and control characters; a colon also makes drive letters and hidden streams.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')
# Names of devices on Windows, whatever suffix follows.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def safe_part(name: str) -> str:
    """One part of a path that every file system takes, that is not hidden and that leads nowhere else.

    A name that is safe already stays as it is.
    """
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # a lone surrogate that no file name can hold
        name = name.encode("utf-8", "replace").decode()
    name = _FORBIDDEN.sub("_", name)
    if name.startswith("."):
        name = f"_{name[1:]}"
    kept = name.rstrip(". ")
    name = kept + "_" * (len(name) - len(kept))
    if _RESERVED.match(name):
        name = f"_{name}"
    return _shortened(name) or "_"


def _shortened(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= LONGEST_PART:
        return name
    suffix = PurePosixPath(name).suffix
    suffix = suffix if suffix.lower() in IMAGE_SUFFIXES else ""
    # The cut may fall within a character, whose rest is dropped.
    start = encoded[: LONGEST_PART - 32].decode("utf-8", "ignore").rstrip(". ")
    return f"{start}~{hashlib.sha256(encoded).hexdigest()[:12]}{suffix}"


def _folded(path: str) -> str:
    """Equal for paths that a file system which ignores case, or the way of writing an accent, takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


class SafeNames:
    """Gives each image a path `identity/name.suffix` below a folder: safe, and no two alike even if case is ignored.

    Names that are safe already come back as they are. Others are changed, and where two would be one the later of
    them gets a number: `Ann~2`. Two identities never share a folder.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], str] = {}
        self._folders: dict[str, str] = {}
        self._owned: set[str] = set()
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}

    def folder(self, identity: str) -> str:
        """The folder of an identity, relative, with forward slashes."""
        if identity not in self._folders:
            self._folders[identity] = self._new_folder(identity)
        return self._folders[identity]

    def file(self, identity: str, key: str, encoded: bytes) -> str:
        """The path of an image: its identity's folder and the last part of its key, with a suffix by its content.

        An image suffix that the key has is kept.
        """
        name = key.rpartition("/")[2] or "_"
        if PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES:
            name += image_suffix(encoded)
        return self._free(self.folder(identity), safe_part(name))

    def _new_folder(self, identity: str) -> str:
        parts = [part for part in identity.split("/") if part not in ("", ".")] or ["_"]
        if len(os.fsencode("/".join(map(safe_part, parts)))) > LONGEST_FOLDER:
            parts = ["_".join(parts)]
        parent = ""
        for depth, part in enumerate(parts, 1):
            known = self._parts.get((parent, part))
            if known is None or (depth == len(parts) and known in self._owned):
                known = self._free(parent, safe_part(part))
                self._parts[parent, part] = known
            parent = known
        self._owned.add(parent)
        return parent

    def _free(self, parent: str, name: str) -> str:
        """`parent/name`, with a number where that is taken; taken from now on."""
        path = f"{parent}/{name}" if parent else name
        if _folded(path) in self._taken:
            suffix = PurePosixPath(name).suffix
            stem, suffix = (path.removesuffix(suffix), suffix) if suffix.lower() in IMAGE_SUFFIXES else (path, "")
            start = _folded(path)
            number = self._numbers.get(start, 2)
            while _folded(f"{stem}~{number}{suffix}") in self._taken:
                number += 1
            self._numbers[start] = number + 1
            path = f"{stem}~{number}{suffix}"
        self._taken.add(_folded(path))
        return path
