"""What happened to each parameter of a request, as it is told to the caller."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from imagegate.domain import ParameterReceipt
from imagegate.errors import InvalidRequest


@dataclass(slots=True)
class Receipts:
    """Collects what happened to each parameter. In strict mode a dropped one is an error instead."""

    strict: bool
    made: list[ParameterReceipt] = field(default_factory=list)

    def add(self, name: str, treatment: str, detail: str | None = None) -> None:
        self.made.append(ParameterReceipt(name, treatment, detail))

    def take(self, treated: Iterable[ParameterReceipt]) -> None:
        """What was dealt with before. Raises InvalidRequest in strict mode as `drop` and `convert` do."""
        for receipt in treated:
            if receipt.treatment == "ignored":
                self.drop(receipt.name, receipt.detail or "not used")
            elif receipt.treatment == "converted":
                self.convert(receipt.name, receipt.detail or "not as it was said")
            else:
                self.made.append(receipt)

    def drop(self, name: str, why: str, *, code: str = "unsupported_value") -> None:
        """Raises InvalidRequest in strict mode."""
        if self.strict:
            raise InvalidRequest(
                f"{name}: {why}. Leave it out, or leave out 'strict'.", code=code, param=name
            )
        self.add(name, "ignored", why)

    def convert(self, name: str, detail: str, *, code: str = "unsupported_value") -> None:
        """Something near to what was asked for takes its place. Raises InvalidRequest in strict mode."""
        if self.strict:
            raise InvalidRequest(
                f"{name}: only something near to it is to be had here ({detail}). Ask for that, or leave out 'strict'.",
                code=code,
                param=name,
            )
        self.add(name, "converted", detail)
