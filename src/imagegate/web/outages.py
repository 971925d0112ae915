"""What a caller is told when the database is away, whichever route asked it."""

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagegate.db.base import LOST, is_gone
from imagegate.errors import BillingUnavailable

log = structlog.get_logger()

OUTAGES = (DBAPIError, PoolTimeout, *LOST)
"""All that a connection, or the lack of one, raises. The store and the outbound door raise errors of their own."""


def outage(error: Exception) -> BillingUnavailable:
    """Raises the error again when the database did answer, and refused: that is a bug of ours."""
    if not is_gone(error):
        raise error
    log.debug("database_away", error=type(error).__name__)
    return BillingUnavailable()
