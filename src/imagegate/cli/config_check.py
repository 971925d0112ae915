"""`imagegate config check`: whether a gateway would start with this configuration, and what to correct if not."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from imagegate.cli.checks import Check, answer_checks, check_data_dir, check_variables
from imagegate.cli.checks_database import Kept, check_database
from imagegate.cli.checks_providers import check_base_urls, check_providers
from imagegate.cli.checks_running import check_redis
from imagegate.cli.desk import Desk, run
from imagegate.cli.options import Json
from imagegate.errors import ImagegateError, OperatorError

if TYPE_CHECKING:
    from imagegate.settings import Settings


def check(json: Json = False) -> None:
    """Check every setting, the database and its schema, secret, store, Redis and base URLs; exit 1 if one fails."""

    async def work(desk: Desk) -> None:
        with desk.progress("Checking"):
            found = [check async for check in checks_of(desk)]
        answer_checks(desk, found)

    run(work, json=json)


async def checks_of(desk: Desk) -> AsyncIterator[Check]:
    """What depends on something that failed is left out."""
    for check in check_variables():
        yield check
    try:
        settings = desk.settings()
    except OperatorError as error:
        yield Check("settings", "fail", error.message, "correct them, then: imagegate config check")
        return
    yield Check("settings", "ok", "every one is valid")
    yield (folder := check_data_dir(settings))
    kept = Kept()
    if folder.state != "fail":
        async for check in check_database(desk, settings, kept):
            yield check
    yield await check_redis(settings)
    for check in check_base_urls(settings):
        yield check
    told = check_providers(settings, kept)
    for check in told:
        if check.state != "ok":
            yield check
    if all(check.name != "catalogue" for check in told):
        yield check_names(settings)
    yield await check_moderation(settings)


def check_names(settings: "Settings") -> Check:
    """Whether the models and providers that settings name are in the catalogue."""
    from imagegate.catalogue.catalogue import load_catalogue
    from imagegate.services import check_refusal_fallback

    catalogue = load_catalogue(settings.catalogue_file)
    named = {"DEFAULT_MODEL": settings.default_model, "VARIATIONS_MODEL": settings.variations_model}
    for setting, name in named.items():
        try:
            if name.partition(":")[0] != "auto":
                catalogue.find(name)
        except ImagegateError as error:
            detail = f"IMAGEGATE_{setting}: {error.message}"
            return Check("names", "fail", detail, "choose one of: imagegate models")
    try:
        check_refusal_fallback(settings, catalogue)
    except OperatorError as error:
        return Check("names", "fail", error.message, "choose of: imagegate providers list")
    return Check("names", "ok", "every model and provider that a setting names is known")


async def check_moderation(settings: "Settings") -> Check:
    """Whether the moderators can be set up; none of them is asked."""
    from imagegate.moderation.panel import open_panel
    from imagegate.outbound import open_outbound
    from imagegate.pool import WorkPool

    pool = WorkPool(threads=1)
    try:
        async with open_outbound() as outbound:
            open_panel(settings, outbound, pool)
    except OperatorError as error:
        return Check("moderation", "fail", error.message, "correct it, then: imagegate config check")
    finally:
        pool.close()
    return Check("moderation", "ok", f"policy {settings.moderation_policy}")
