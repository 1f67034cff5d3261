"""The problems of a request, also from pydantic's validation errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from pro_video.core.errors import FieldProblem, RequestRefused

M = TypeVar("M", bound=BaseModel)
NAN = float("nan")


class Problems:
    """The problems of one request, in order, one per field and rule."""

    def __init__(self) -> None:
        self._problems: list[FieldProblem] = []
        self._fields: set[str] = set()

    def add(self, field: str, code: str, message: str) -> None:
        problem = FieldProblem(field, message, code)
        if problem not in self._problems:
            self._problems.append(problem)
            self._fields.add(field)

    def extend(self, problems: Iterable[FieldProblem]) -> None:
        for problem in problems:
            self.add(problem.field, problem.code, problem.message)

    def has(self, field: str) -> bool:
        """Has this field a problem already?"""
        return field in self._fields

    def raise_if_any(self, code: str = "request_refused") -> None:
        """Raise RequestRefused with all problems."""
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


def problems_from_validation(error: ValidationError, prefix: str = "") -> list[FieldProblem]:
    """The problems that a pydantic ValidationError reports, each with its path.

    Values never appear in a message: a source may be a presigned link.
    """
    problems = []
    # The context is needed for the choices; the input may be a secret.
    for detail in error.errors(include_url=False, include_input=False):
        kind = detail["type"]
        message = _MESSAGES.get(kind, detail["msg"])
        if kind == "literal_error":
            message = f"must be one of {detail.get('ctx', {}).get('expected', 'the listed values')}"
        problem = FieldProblem(
            path_of(detail["loc"], prefix) or "request", message, _CODES.get(kind, kind)
        )
        if problem not in problems:
            problems.append(problem)
    return problems


_NUMBER = "must be a number, written without quotes"
_OBJECT = "must be an object with named fields"
_MESSAGES: Mapping[str, str] = {
    "missing": "is missing; give a value",
    "missing_argument": "is missing; give a value",
    "extra_forbidden": "is not a field of this request; correct its name or remove it",
    "unexpected_keyword_argument": "is not a field of this request; correct its name or remove it",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "string_type": "must be text",
    "string_unicode": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
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


def read_leniently(model: type[M], raw: object, path: str, found: Problems) -> M | None:
    """The model from raw data; wrong fields are reported and replaced, so that rules can go on.

    A wrong number becomes NaN (every comparison with it is false), any other wrong field None. The
    caller must refuse the request when there are problems. Data without fields give None.
    """
    if isinstance(raw, model):
        return raw
    if not isinstance(raw, Mapping):
        found.add(path or "request", "wrong_type", _OBJECT)
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
