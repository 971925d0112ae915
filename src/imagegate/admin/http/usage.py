"""`/admin/v1/usage`: who made how much of what."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from imagegate.admin.http.door import JsonObject, Reading, reads
from imagegate.admin.http.fields import Env, Moment
from imagegate.admin.http.pages import Query
from imagegate.admin.usage import read_dimensions, show_usage
from imagegate.generation.usage import DIMENSIONS, Bucket

router = APIRouter()


class UsageQuery(Query):
    since: Annotated[Moment, Field(description="From here on.")]
    until: Annotated[Moment, Field(description="Up to here, exclusive.")]
    by: Annotated[
        str, Field(max_length=200, description=f"Any of {', '.join(DIMENSIONS)}, with commas between.")
    ] = "model"
    bucket: Annotated[
        Bucket, Field(description="One row an hour or a day (UTC), or one for the whole span.")
    ] = "none"
    account: Annotated[str | None, Field(description="Only of this account: `acc_…` or a name.")] = None
    env: Annotated[Env, Field(description="The environment.")] = "live"


@reads(router, "/usage", UsageQuery, "Show usage")
async def get_usage(reading: Reading, query: UsageQuery) -> JsonObject:
    """Images, generations, errors, tokens charged, and USD spent and at risk upstream, by what is asked for."""
    return await show_usage(
        reading.connection,
        since=query.since,
        until=query.until,
        by=read_dimensions([query.by]),
        bucket=query.bucket,
        account=query.account,
        env=query.env,
    )
