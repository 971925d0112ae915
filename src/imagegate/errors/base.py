"""The root of the tree, and the operator's branch."""


class ImagegateError(Exception):
    """The root. `message` is for the caller: no keys, prompts or upstream bodies in it."""

    status = 500
    type = "server_error"
    code = "internal_error"
    should_retry = False
    param: str | None = None
    retry_after_s: int | None = None
    allow: str | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class OperatorError(ImagegateError):
    """Something the operator can mend. The message ends with the next command where there is one."""

    code = "operator_error"
