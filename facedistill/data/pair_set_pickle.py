"""Read the pickles of pair sets without an unpickler: a small machine for the few opcodes that such files hold.

File format: the pickle protocols 0 to 5, as the modules `pickle` and `pickletools` of Python document them. A pickle is
a program for a machine with a stack and a memo; the program of a stranger can call any function. This machine calls
nothing: names become tokens, and what a known token stands for is built here, from checked arguments.
"""

from __future__ import annotations

import codecs
import pickletools
import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from facedistill.data.pair_set_values import (
    KNOWN_NAMES,
    Dtype,
    PickledArray,
    PickledName,
    PickledText,
    build_value,
    described_arguments,
    is_c_order,
    is_plain_dtype_state,
)
from facedistill.errors import DataError
from facedistill.shown_name import shown_name

ALLOWANCE = 1 << 19
"""Bytes that the values of a pickle may take beyond 2.5 times its length; ours: some 4,000 tiny images fit."""

# What the values cost in CPython, pointers to them included; a memo entry is the worst moment of a growing dict.
_VALUE, _NUMBER, _POINTER, _MEMO_ENTRY = 72, 40, 9, 128
_LARGEST_GAP = 1000  # between numbers of memo entries that are kept in a list
_LONGEST_NUMBER = 24  # characters: 64 bits, a sign and an L


def load_pair_set_pickle(content: bytes, *, place: object) -> Any:
    """The object that a pickle holds, made of list, tuple, bytes, `PickledText`, `PickledArray`, int, bool and None.

    The time grows with the length of `content`. The memory, `content` itself included, stays below four times it and
    half a megabyte.

    Raises:
        DataError: the bytes are no whole pickle, or the pickle asks for something that a pair set has no use for, or
            for far more values than its length suggests. Nothing of it is run, whatever it says.
    """
    return _Machine(content, place).run()


class _DamagedError(Exception):
    """The bytes do not follow the format."""


class _Machine:
    """The state while one pickle is read; each opcode is a method."""

    def __init__(self, content: bytes, place: object) -> None:
        self.content = content
        self.view = memoryview(content)
        self.place = place
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        # Writers number the entries from 0 or 1 on: a list holds them in a tenth of the memory of a dict.
        self.memo: list[Any] = []
        self.far_memo: dict[int, Any] = {}
        self.entries = 0
        self.left = 5 * len(content) // 2 + ALLOWANCE

    def run(self) -> Any:
        opcodes, content = _OPCODES, self.content
        try:
            while True:
                if self.at >= len(content):
                    raise _DamagedError("it ends in the middle")
                code = content[self.at]
                self.at += 1
                if code == _STOP:
                    return self.pop()
                opcode = opcodes.get(code)
                if opcode is None:
                    self.refuse_opcode(code)
                opcode(self)
        # The last two: text that is no number or UTF-8, or an escape sequence that Python takes under protest.
        except (_DamagedError, ValueError, DeprecationWarning) as error:
            raise DataError(
                f"it is no pickle of a pair set ({error}, at byte {self.at:,})",
                place=self.place,
                next_step="A .bin file is a pickled tuple (encoded images, flags)",
            ) from error

    def refuse(self, request: str) -> NoReturn:
        raise DataError(
            f"the pickle {request}, which a pair set has no use for; nothing of it was run",
            place=self.place,
            next_step="Do not open this file with an ordinary unpickler",
        )

    def refuse_opcode(self, code: int) -> NoReturn:
        known = next((opcode for opcode in pickletools.opcodes if opcode.code == chr(code)), None)
        if known is None:
            raise _DamagedError(f"0x{code:02x} is no opcode")
        self.refuse(f"uses the opcode {known.name} at byte {self.at - 1:,}")

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise DataError(
                f"the pickle builds more values than a pair set of {len(self.content):,} bytes needs; "
                "nothing of it was run",
                place=self.place,
                next_step="Do not open this file with an ordinary unpickler",
            )

    def push(self, value: Any, size: int = _VALUE) -> None:
        self.spend(size)
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _DamagedError("it takes more than there is on its stack")
        return self.stack.pop()

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _DamagedError("it takes more than there is on its stack")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise _DamagedError("it takes more than there is on its stack")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.bytes_ahead(size), "little", signed=signed)

    def advance(self, size: int) -> int:
        """Step over `size` bytes and return where they start."""
        start = self.at
        if not 0 <= size <= len(self.content) - start:
            raise _DamagedError(f"it declares {size:,} bytes where {len(self.content) - start:,} are left")
        self.at = start + size
        return start

    def bytes_ahead(self, size: int) -> bytes:
        start = self.advance(size)
        return self.content[start : self.at]

    def line(self, longest: int) -> bytes:
        start, end = self.find_line()
        if end - start > longest:
            raise _DamagedError(f"a line of {end - start:,} characters")
        return self.content[start:end]

    def find_line(self) -> tuple[int, int]:
        start, end = self.at, self.content.find(b"\n", self.at)
        if end < 0:
            raise _DamagedError("it ends in the middle of a line")
        self.at = end + 1
        return start, end

    # The frame of the pickle

    def protocol(self) -> None:
        self.spend(_POINTER)  # costs time rather than memory, and a pickle needs but one
        version = self.number(1)
        if version > 5:
            raise _DamagedError(f"protocol {version}, of which 0 to 5 are known")

    def frame(self) -> None:
        """A hint for reading ahead, which nothing here needs; its size is checked all the same."""
        self.spend(_POINTER)
        size = self.number(8)
        self.advance(size)
        self.at -= size

    def mark(self) -> None:
        self.spend(_VALUE)
        self.marks.append(len(self.stack))

    # Values

    def byte_string(self, size: int) -> None:
        start = self.advance(size)
        self.spend(size)
        self.push(self.content[start : self.at])

    def quoted_string(self) -> None:
        """A Python 2 string as its `repr`."""
        start, end = self.find_line()
        self.spend(2 * (end - start))
        quoted = self.content[start:end].strip()
        if len(quoted) < 2 or quoted[:1] not in (b"'", b'"') or quoted[:1] != quoted[-1:]:
            raise _DamagedError("a string without its quotes")
        self.push(codecs.escape_decode(memoryview(quoted)[1:-1])[0])
        self.left += end - start

    def unicode_text(self, size: int) -> None:
        # Looked for beforehand: one letter beyond latin-1 makes Python take two or four bytes for each of the text.
        start = self.advance(size)
        if size and np.frombuffer(self.content, np.uint8, size, start).max() > _LAST_LEAD_BYTE:
            self.refuse("holds text beyond latin-1")
        self.text(start, self.at, "utf-8")

    def unicode_line(self) -> None:
        start, end = self.find_line()
        if _BEYOND_LATIN1.search(self.content, start, end):
            self.refuse("holds text beyond latin-1")
        self.text(start, end, "raw-unicode-escape")

    def text(self, start: int, end: int, encoding: str) -> None:
        self.spend(2 * (end - start))  # for a moment it is there twice
        text = str(self.view[start:end], encoding)
        self.left += end - start
        self.push(PickledText(text.encode("latin1")), 2 * _VALUE)

    def integer_line(self) -> None:
        text = self.line(_LONGEST_NUMBER)
        self.push(text == b"01" if text in (b"00", b"01") else int(text))

    def long_line(self) -> None:
        text = self.line(_LONGEST_NUMBER)
        self.push(int(text[:-1] if text.endswith(b"L") else text))

    def long_number(self, size: int) -> None:
        if size > 8:
            self.refuse(f"holds a number of {size:,} bytes")
        self.push(self.number(size, signed=True))

    def sequence(self, items: Any) -> None:
        self.push(items, _VALUE + _POINTER * len(items))

    def few(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.sequence(tuple(reversed(items)))

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise _DamagedError("it appends to what is no list")
        self.spend(_POINTER * len(items))
        target.extend(items)

    # The memo

    def put(self, key: int) -> None:
        if key < 0:
            raise _DamagedError("a negative number in the memo")
        value, gap = self.top(), key - len(self.memo)
        if key in self.far_memo or gap > _LARGEST_GAP:
            self.entries += key not in self.far_memo
            self.spend(_MEMO_ENTRY)
            self.far_memo[key] = value
            return
        if gap >= 0:
            self.spend(_POINTER * (gap + 1))
            self.memo.extend([_NOTHING] * (gap + 1))
        self.entries += self.memo[key] is _NOTHING
        self.memo[key] = value

    def get(self, key: int) -> None:
        value = self.memo[key] if 0 <= key < len(self.memo) else _NOTHING
        value = self.far_memo.get(key, value)
        if value is _NOTHING:
            raise _DamagedError(f"it takes number {key} of its memo, which is not there")
        self.push(value, _POINTER)

    # Names and what they build

    def global_name(self) -> None:
        (start, middle), (_, end) = self.find_line(), self.find_line()
        longest = 100  # no known name is longer; enough is kept to show it
        self.name(self.content[start:middle][:longest], self.content[middle + 1 : end][:longest])

    def stack_name(self) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, PickledText) and isinstance(module, PickledText)):
            raise _DamagedError("a name that is no text")
        self.name(module.latin1[:100], name.latin1[:100])

    def name(self, module: bytes, name: bytes) -> None:
        key = module.decode("latin1"), name.decode("latin1")
        token = KNOWN_NAMES.get(key)
        if token is None:
            self.refuse(f"asks for '{shown_name('.'.join(key))}'")
        self.push(token, _POINTER)

    def reduce(self) -> None:
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, PickledName) or not isinstance(arguments, tuple):
            self.refuse("calls what is no function")
        built = build_value(name, arguments)
        if built is None:
            self.refuse(f"calls '{name.value}' with ({described_arguments(arguments)})")
        self.push(built)

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, Dtype) and isinstance(state, tuple) and is_plain_dtype_state(state):
            return
        if isinstance(target, PickledArray) and target.data is None and isinstance(state, tuple) and len(state) == 5:
            _version, shape, dtype, fortran, data = state
            if isinstance(dtype, Dtype) and isinstance(data, bytes) and is_c_order(shape, len(data), fortran):
                target.dtype, target.data = dtype, data
                return
        self.refuse("sets a state that is not one of an array of bytes or booleans")


_LAST_LEAD_BYTE = 0xC3  # of the UTF-8 of a latin-1 letter
_BEYOND_LATIN1 = re.compile(rb"\\u(?!00)|\\U(?!000000)")
_STOP = ord(".")
_NOTHING = object()

_OPCODES: dict[int, Callable[[_Machine], None]] = {
    ord(opcode): act
    for opcode, act in {
        "\x80": _Machine.protocol,
        "\x95": _Machine.frame,
        "(": lambda machine: machine.mark(),
        # Lists and tuples
        "]": lambda machine: machine.sequence([]),
        "l": lambda machine: machine.sequence(machine.pop_to_mark()),
        "a": lambda machine: machine.append([machine.pop()]),
        "e": lambda machine: machine.append(machine.pop_to_mark()),
        ")": lambda machine: machine.sequence(()),
        "t": lambda machine: machine.sequence(tuple(machine.pop_to_mark())),
        "\x85": lambda machine: machine.few(1),
        "\x86": lambda machine: machine.few(2),
        "\x87": lambda machine: machine.few(3),
        # Byte strings
        "S": _Machine.quoted_string,
        "T": lambda machine: machine.byte_string(machine.number(4, signed=True)),
        "U": lambda machine: machine.byte_string(machine.number(1)),
        "B": lambda machine: machine.byte_string(machine.number(4)),
        "C": lambda machine: machine.byte_string(machine.number(1)),
        "\x8e": lambda machine: machine.byte_string(machine.number(8)),
        "\x96": lambda machine: machine.byte_string(machine.number(8)),
        # Text
        "V": _Machine.unicode_line,
        "X": lambda machine: machine.unicode_text(machine.number(4)),
        "\x8c": lambda machine: machine.unicode_text(machine.number(1)),
        "\x8d": lambda machine: machine.unicode_text(machine.number(8)),
        # Numbers, booleans, None
        "I": _Machine.integer_line,
        "J": lambda machine: machine.push(machine.number(4, signed=True), _NUMBER),
        "K": lambda machine: machine.push(machine.number(1), _POINTER),
        "M": lambda machine: machine.push(machine.number(2), _NUMBER),
        "L": _Machine.long_line,
        "\x8a": lambda machine: machine.long_number(machine.number(1)),
        "\x88": lambda machine: machine.push(True, _POINTER),
        "\x89": lambda machine: machine.push(False, _POINTER),
        "N": lambda machine: machine.push(None, _POINTER),
        # The memo
        "p": lambda machine: machine.put(int(machine.line(_LONGEST_NUMBER))),
        "q": lambda machine: machine.put(machine.number(1)),
        "r": lambda machine: machine.put(machine.number(4)),
        "\x94": lambda machine: machine.put(machine.entries),
        "g": lambda machine: machine.get(int(machine.line(_LONGEST_NUMBER))),
        "h": lambda machine: machine.get(machine.number(1)),
        "j": lambda machine: machine.get(machine.number(4)),
        # Names and what they build
        "c": _Machine.global_name,
        "\x93": _Machine.stack_name,
        "R": _Machine.reduce,
        "b": _Machine.build,
    }.items()
}
