"""Turns pydantic's validation errors into problems that name a field and the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from pro_video.core.errors import Problem, RequestRefused

M = TypeVar("M", bound=BaseModel)
NAN = float("nan")


class Findings:
    """The problems of one request in the order in which they were found, one per field and rule."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._fields: set[str] = set()

    def add(self, field: str, code: str, message: str) -> None:
        problem = Problem(field, message, code)
        if problem not in self._problems:
            self._problems.append(problem)
            self._fields.add(field)

    def extend(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.add(problem.field, problem.code, problem.message)

    def has(self, field: str) -> bool:
        """Has this very field a problem already?"""
        return field in self._fields

    def raise_if_any(self, code: str = "request_refused") -> None:
        """Raise RequestRefused with everything found."""
        if self._problems:
            raise RequestRefused(self._problems, code=code)


def path_of(location: Sequence[str | int], prefix: str = "") -> str:
    """``("segments", 1, "end")`` as ``segments[1].end``."""
    path = prefix
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def problems_from_validation(error: ValidationError, prefix: str = "") -> list[Problem]:
    """The problems that a pydantic ValidationError reports, each with its path.

    Values never appear in a message: a source may be a presigned link.
    """
    problems = []
    # The input is left out even of the intermediate form; the context is needed for the choices.
    for detail in error.errors(include_url=False, include_input=False):
        kind = detail["type"]
        describe = _MESSAGES.get(kind)
        message = describe(detail.get("ctx", {})) if describe else detail["msg"]
        problem = Problem(
            path_of(detail["loc"], prefix) or "request", message, _CODES.get(kind, kind)
        )
        if problem not in problems:
            problems.append(problem)
    return problems


def _missing(_: Mapping[str, Any]) -> str:
    return "is missing; give a value"


def _unknown(_: Mapping[str, Any]) -> str:
    return "is not a field of this request; correct its name or remove it"


def _number(_: Mapping[str, Any]) -> str:
    return "must be a number, written without quotes"


def _text(_: Mapping[str, Any]) -> str:
    return "must be text"


def _list(_: Mapping[str, Any]) -> str:
    return "must be a list"


def _object(_: Mapping[str, Any]) -> str:
    return "must be an object with named fields"


def _choice(context: Mapping[str, Any]) -> str:
    return f"must be one of {context.get('expected', 'the listed values')}"


_MESSAGES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": _missing,
    "missing_argument": _missing,
    "extra_forbidden": _unknown,
    "unexpected_keyword_argument": _unknown,
    "float_type": _number,
    "float_parsing": _number,
    "string_type": _text,
    "string_unicode": _text,
    "list_type": _list,
    "tuple_type": _list,
    "model_type": _object,
    "model_attributes_type": _object,
    "dict_type": _object,
    "literal_error": _choice,
}
_CODES = {
    "missing": "missing",
    "missing_argument": "missing",
    "extra_forbidden": "unknown_field",
    "unexpected_keyword_argument": "unknown_field",
    "literal_error": "unknown_choice",
    **dict.fromkeys(
        (
            *("float_type", "float_parsing", "string_type", "string_unicode", "list_type"),
            *("tuple_type", "model_type", "model_attributes_type", "dict_type"),
        ),
        "wrong_type",
    ),
}


def read_leniently(model: type[M], raw: object, path: str, found: Findings) -> M | None:
    """The model from raw data, with every wrong field reported and replaced, so that rules can go
    on.

    A replaced field is NaN where numbers belong (every comparison with it is false) and None
    elsewhere; the caller must refuse the request when anything was found. None comes back for data
    without fields.
    """
    if isinstance(raw, model):
        return raw
    if not isinstance(raw, Mapping):
        found.add(path or "request", "wrong_type", _object({}))
        return None
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        found.extend(problems_from_validation(error, path))
        wrong = {detail["loc"][0] for detail in error.errors(include_input=False)}
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            if name in raw:
                values[name] = read_leniently(nested, raw[name], path_of([name], path), found)
            elif field.is_required():
                values[name] = None
        elif name in wrong:
            values[name] = NAN if _takes_nan(nested) else None
        elif name in raw:
            values[name] = raw[name]
    return model.model_construct(**values)


def _takes_nan(annotation: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_python(NAN)
    except ValidationError:
        return False
    return True
