"""For which app a request is made: what it says of itself, in the header `X-App-ID` or in its body.

The request counts in usage for the app that it names. Budgets go by the label of its key, where it has one.
"""

from dataclasses import replace

from imagegate.domain import Principal
from imagegate.errors import InvalidRequest

LONGEST = 200
NOBODY = "unknown"
"""What a Lunos client says where its program names no app."""


def for_app(principal: Principal, said: str | None, param: str) -> Principal:
    """The principal with the app that the request names; as it is where one was named before, or none is.

    said: 1 to 200 printable characters. Raises InvalidRequest naming `param`.
    """
    name = said.strip() if said else ""
    if not name or name.lower() == NOBODY:
        return principal
    if len(name) > LONGEST or not name.isprintable():
        text = f"{param} has 1 to {LONGEST} printable characters: the name of the app that asks."
        raise InvalidRequest(text, param=param)
    return principal if principal.named_app is not None else replace(principal, named_app=name)
