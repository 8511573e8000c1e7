"""The terms of a student's loss: which methods, with what weight and options, as the command line names them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from facedistill.distill.method import METHODS, DistillationMethod, MethodKind, MethodOptions, Needs, Setting
from facedistill.errors import UsageError


@dataclass(frozen=True)
class Term:
    """A method with its weight and its options.

    Args:
        name: of the method.
        weight: what its loss is multiplied by.
        options: of the class that the method asks for.
    """

    name: str
    weight: float
    options: MethodOptions

    @property
    def kind(self) -> MethodKind[Any]:
        """The method."""
        return METHODS[self.name]

    @property
    def needs(self) -> Needs:
        """What it needs with these options."""
        return self.kind.needs(self.options)

    def build(self, setting: Setting) -> DistillationMethod:
        """The method, ready to be called."""
        return self.kind(self.options, setting)


def make_term(name: str, weight: float = 1.0, **options: Any) -> Term:
    """A term with the options that are given, and the method's own defaults for the others.

    Raises:
        UsageError: an unknown method, a weight that is not above 0, or an option that is unknown or out of range.
    """
    kind = METHODS[name]
    if not 0 < weight < float("inf"):
        raise UsageError(f"the weight of {name} is {weight:g}", next_step="Use a number above 0")
    try:
        return Term(name, weight, kind.options(**options))
    except ValidationError as error:
        raise UsageError(describe_fault(name, error), next_step=f"See facedistill methods {name}") from error


def describe_fault(name: str, error: ValidationError) -> str:
    """The first thing that is wrong with a method's options."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # a fault of several options together
        return f"{name}: {message}"
    return f"{name}: {message[:1].lower()}{message[1:]}, and {first['loc'][0]} is {first['input']!r}"


def parse_terms(method: str, plus: Sequence[str] = (), settings: Sequence[str] = ()) -> tuple[Term, ...]:
    """The terms that a command line names.

    Args:
        method: "NAME" or "NAME:WEIGHT".
        plus: more of them.
        settings: "OPTION=VALUE", or "NAME.OPTION=VALUE" where several of the methods have such an option.

    Raises:
        UsageError: whatever is wrong, with the nearest name where a name is unknown.
    """
    weights: dict[str, float] = {}
    for text in (method, *plus):
        name, weight = parse_weight(text)
        if name in weights:
            raise UsageError(f"the method {name} is asked for twice", next_step="Give it once, with a weight")
        METHODS[name]
        weights[name] = weight
    options: dict[str, dict[str, Any]] = {name: {} for name in weights}
    for text in settings:
        owner, option, value = parse_setting(text, list(weights))
        if option in options[owner]:
            raise UsageError(f"the option {option} of {owner} is set twice", place=f"--set {text}")
        options[owner][option] = value
    return tuple(make_term(name, weight, **options[name]) for name, weight in weights.items())


def parse_weight(text: str) -> tuple[str, float]:
    """("NAME", weight) of "NAME:WEIGHT" or "NAME"."""
    name, colon, weight = text.partition(":")
    if not colon:
        return name, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise UsageError(f"'{weight}' is no weight", place=text, next_step="Write NAME or NAME:WEIGHT") from None


def parse_setting(text: str, methods: Sequence[str]) -> tuple[str, str, Any]:
    """(method, option, value) of "OPTION=VALUE" or "METHOD.OPTION=VALUE"."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"'{text}' sets nothing", place="--set", next_step="Write OPTION=VALUE")
    method, dot, option = name.strip().rpartition(".")
    if dot and method not in methods:
        raise UsageError(
            f"the method {method} is not among those of this run ({', '.join(methods)})", place=f"--set {text}"
        )
    owners = [owner for owner in ([method] if dot else methods) if option in METHODS[owner].options.model_fields]
    if not owners:
        asked = [method] if dot else list(methods)
        raise UsageError(
            f"{' + '.join(asked)} has no option '{option}'",
            place=f"--set {text}",
            next_step=suggest_option(option, asked),
        )
    if len(owners) > 1:
        raise UsageError(
            f"{' and '.join(owners)} have an option '{option}'",
            place=f"--set {text}",
            next_step=f"Say which, such as {owners[0]}.{option}={value}",
        )
    return owners[0], option, parse_value(value, text)


def parse_value(value: str, text: str) -> Any:
    """A value as YAML reads it: a number, a word, true, false, or none.

    Args:
        value: behind the equals sign.
        text: the whole setting, for messages.
    """
    if value.strip().lower() in ("none", "null"):
        return None
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(
            f"'{value}' is no value", place=f"--set {text}", next_step="Write a number, a word, true, false or none"
        ) from None


def suggest_option(option: str, methods: Sequence[str]) -> str:
    """What to do about an unknown option."""
    known = [name for method in methods for name in METHODS[method].options.model_fields]
    nearest = difflib.get_close_matches(option, known, n=1)
    if nearest:
        return f"Did you mean {nearest[0]}?"
    return f"It has: {', '.join(known)}" if known else "It has no options"
