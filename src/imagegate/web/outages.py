"""What a caller is told when the database is away, whichever route asked it."""

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagegate.db.base import LOST, is_gone
from imagegate.errors import BillingUnavailable, ImagegateError

log = structlog.get_logger()

OUTAGES = (DBAPIError, PoolTimeout, *LOST)
"""All that a connection, or the lack of one, raises. The store and the outbound door raise errors of their own."""


def outage(error: Exception) -> BillingUnavailable:
    """Raises the error again when the database did answer, and refused: that is a bug of ours."""
    if not is_gone(error):
        raise error
    log.debug("database_away", error=type(error).__name__)
    return BillingUnavailable()


def told_of(error: Exception) -> ImagegateError:
    """Any error as a caller is told it whose answer has begun. Raises nothing: a bug is logged and told as one."""
    if isinstance(error, ImagegateError):
        return error
    if isinstance(error, OUTAGES) and is_gone(error):
        return outage(error)
    log.error("unhandled", exc_info=error)
    return ImagegateError("The gateway failed; this is a bug. Nothing more was charged.")
