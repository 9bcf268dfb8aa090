"""Checks what a YAML file holds against a pydantic model, and says where and why when it does not fit.

pydantic says what is wrong; the line, the key that was probably meant and what to write instead are added here.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mmmeta.config.yaml_file import Document, KeyPath, key_text
from mmmeta.errors import InvalidFileError, near_misses

AnyModel = TypeVar("AnyModel", bound=BaseModel)

MOST_PROBLEMS = 10
"""Mistakes that are told of one file; one that indents a block wrongly can make a hundred."""

_REASONS = {
    "dict_type": "needs keys and values below it, one per line",
    "model_type": "needs keys and values below it, one per line",
    "list_type": "needs a list: [one, two]",
    "tuple_type": "needs a list: [one, two]",
    "string_type": "needs text. Quote it if it looks like a number, a date, or true and false",
    "bool_type": "needs true or false",
    "bool_parsing": "needs true or false",
    "int_type": "needs a whole number",
    "int_parsing": "needs a whole number",
    "int_from_float": "needs a whole number",
    "float_type": "needs a number",
    "float_parsing": "needs a number",
    "finite_number": "needs a finite number",
}


class InnerError(ValueError):
    """A validator's message about something below the value that it was given.

    Attributes:
        below: keys from that value down to what is wrong.
    """

    def __init__(self, reason: str, below: KeyPath = ()) -> None:
        super().__init__(reason)
        self.below = below


def validate(
    model: type[AnyModel],
    value: Any,
    document: Document,
    context: Mapping[str, Any] | None = None,
    known: Sequence[tuple[KeyPath, str]] = (),
) -> AnyModel:
    """The model made from ``value``, which stems from ``document``.

    Values are quoted in messages as the document has them, so that what an environment variable gave is not shown.

    Args:
        known: what is wrong already, key and reason; what a check says of such a key, or of all that is around it, may be
            only a consequence and is left out.

    Raises:
        InvalidFileError: (the document's class) all that does not fit, in the order of the file, a line each.
    """
    found = list(known)
    try:
        made = model.model_validate(value, context=dict(context or {}))
        if not known:
            return made
    except ValidationError as problem:
        errors = problem.errors(include_url=False, include_input=False)
        found += explained(model, errors, document, [key for key, _ in known])
    raise all_problems(document, found)


def explained(
    model: type[BaseModel],
    errors: Sequence[Any],
    document: Document,
    known: Sequence[KeyPath] = (),
    also: Callable[[KeyPath], Sequence[str]] = lambda above: (),
) -> list[tuple[KeyPath, str]]:
    """What pydantic has found, in words: the key, and why; without what is merely a consequence.

    Args:
        errors: pydantic's.
        document: what was read; its keys are those of the model.
        known: keys of which it is known already that they are wrong.
        also: the names that may stand below a key besides those of the model.
    """
    return [
        _explain(model, error, document, also)
        for error in errors
        if not _is_misspelt(error, errors) and not _is_consequence(error, known)
    ]


def all_problems(document: Document, found: Sequence[tuple[KeyPath, str]]) -> InvalidFileError:
    """One error for everything that is wrong in a file, so that it can be mended in one go.

    It has place, key and reason of the first; what follows is in the reason, a line each with file and line number.
    """
    problems = [document.problem(key, reason) for key, reason in sorted(found, key=lambda one: document.line(one[0]))]
    more = [f"\n{problem}" for problem in problems[1:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        more.append(f"\n(and {len(problems) - MOST_PROBLEMS} more)")
    first = problems[0]
    return document.error(first.reason + "".join(more), path=first.path, line=first.line, key=first.key)


def reason_of(error: ValidationError) -> str:
    """All that is wrong in one line, for a model that no file stands behind: ``attempts: needs a whole number``."""
    return "; ".join(f"{key_text(key)}: {reason}" if key else reason for key, reason in reasons_of(error))


def reasons_of(error: ValidationError) -> list[tuple[KeyPath, str]]:
    """All that is wrong: the key, and why."""
    return [(_key_of(found), _reason_of(found)) for found in error.errors(include_url=False, include_input=False)]


def _key_of(error: Any) -> KeyPath:
    below = getattr((error.get("ctx") or {}).get("error"), "below", ())
    return (*error["loc"], *below)


def _reason_of(error: Any) -> str:
    cause = (error.get("ctx") or {}).get("error")
    if isinstance(cause, Exception):
        return str(cause).rstrip(".")
    message: str = error["msg"]
    return _REASONS.get(error["type"], message[:1].lower() + message[1:])


def _is_misspelt(error: Any, errors: Sequence[Any]) -> bool:
    """Whether a key is missing merely because it is there under a mistyped name, which is reported already."""
    if error["type"] != "missing":
        return False
    *above, name = error["loc"]
    beside = [other["loc"][-1] for other in errors if list(other["loc"][:-1]) == above and _is_unknown(other)]
    return any(near_misses(str(other), [name]) for other in beside)


def _is_consequence(error: Any, known: Sequence[KeyPath]) -> bool:
    """Whether an error may merely stem from values that are known to be wrong."""
    location = _key_of(error)
    if any(location[: len(key)] == key for key in known):
        return True
    # A check of ours that has seen the whole around such a value.
    return error["type"] == "value_error" and any(key[: len(location)] == location for key in known)


def _is_unknown(error: Any) -> bool:
    return bool(error["type"] == "extra_forbidden")


def _explain(
    model: type[BaseModel], error: Any, document: Document, also: Callable[[KeyPath], Sequence[str]]
) -> tuple[KeyPath, str]:
    """The key that is to blame, and the reason in words."""
    location = _key_of(error)
    key = _existing(location, document)
    if _is_unknown(error):
        known = [*known_names(model, location[:-1]), *also(location[:-1])]
        hint = near_misses(str(location[-1]), known) or (f" There are {', '.join(known)}." if known else "")
        return key, f"is not a key that is known here.{hint}"
    if error["type"] == "missing":
        where = f" below line {document.line(key)}" if document.lines else ""
        return key, f"the key {location[-1]!r} is missing. Add it{where}"
    reason = _reason_of(error)
    if isinstance((error.get("ctx") or {}).get("error"), Exception):
        return key, reason
    got = _shown(document.at(key)) if len(key) == len(location) else None
    return key, f"{reason} (it is {got})" if got else reason


def _shown(value: Any) -> str | None:
    if value is None:
        return "empty"
    if isinstance(value, (dict, list)):
        return None
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _existing(location: KeyPath, document: Document) -> KeyPath:
    """As much of pydantic's location as the document has; pydantic adds names of its own for unions and defaults."""
    for length in range(len(location), 0, -1):
        try:
            document.at(location[:length])
        except (KeyError, IndexError, TypeError):
            continue
        return location[:length]
    return ()


def known_names(model: type[BaseModel], location: KeyPath) -> list[str]:
    """The keys that the model at a location has; what never stands in a file is left out."""
    current: Any = model
    for part in location:
        found = _model_in(current)
        if found is not None:
            fields = {field.alias or name: field for name, field in found.model_fields.items()}
            if part not in fields:
                return []
            current = fields[str(part)].annotation
        else:
            current = next(iter(get_args(_without_none(current))[-1:]), None)
    found = _model_in(current)
    if found is None:
        return []
    hidden: frozenset[str] = getattr(found, "not_in_file", frozenset())
    return [name for name in (field.alias or key for key, field in found.model_fields.items()) if name not in hidden]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    plain = _without_none(annotation)
    # Python 3.10 takes dict[str, int] for a class as well.
    is_class = isinstance(plain, type) and get_origin(plain) is None
    return plain if is_class and issubclass(plain, BaseModel) else None


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation
