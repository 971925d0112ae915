"""What pydantic found wrong with a caller's values, in our words. The value itself is never echoed."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from imagegate.errors import InvalidRequest

Body = TypeVar("Body", bound=BaseModel)


def checked(kind: type[Body], values: Mapping[str, Any]) -> Body:
    """The values as a body of this kind. Raises InvalidRequest naming the first field at fault."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise first_fault(error) from None


def first_fault(error: ValidationError) -> InvalidRequest:
    """The first field at fault. `param` names it, with dots where it lies deeper: `scopes.0`."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name, kind = ".".join(str(part) for part in fault["loc"])[:200], fault["type"]
    if kind == "missing":
        return InvalidRequest(f"{name} is required.", code="missing_required_parameter", param=name)
    if kind == "extra_forbidden":
        return InvalidRequest(f"There is no parameter {name}.", code="unknown_parameter", param=name)
    code = "invalid_value"
    if kind == "string_too_long":
        code = "string_too_long"
    elif kind.endswith("_type") or kind == "int_from_float":
        code = "invalid_type"
    return InvalidRequest(f"{name}: {fault['msg']}.", code=code, param=name or None)
