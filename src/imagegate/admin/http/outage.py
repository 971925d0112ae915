"""What an operator is told when the database stays away, or two changes stood in each other's way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagegate.db.base import LOST, is_gone
from imagegate.errors import Unavailable

CONFLICTS = ("40P01", "40001", "55P03")


@asynccontextmanager
async def answering(*, changing: bool) -> AsyncIterator[None]:
    """Raises Unavailable for what the database did. changing: whether the change was made may be unknown then."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in CONFLICTS:
            raise Unavailable("Another change was in the way. Nothing was changed; try again.") from None
        if not is_gone(error):
            raise
        raise database_gone(changing) from None
    except (PoolTimeout, *LOST):
        raise database_gone(changing) from None


def database_gone(changing: bool) -> Unavailable:
    text = "The database cannot be reached right now; try again shortly."
    if changing:
        text = "The database broke off. Look whether the change was made before you repeat it."
    gone = Unavailable(text)
    gone.code, gone.should_retry = "billing_unavailable", not changing
    return gone
