"""`/admin/v1/models`: what can be asked for, by which names, and who serves it."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from imagegate.admin import models, preferences
from imagegate.admin.http.door import Change, JsonObject, Reading, Writing, reads, writes
from imagegate.admin.http.pages import Query
from imagegate.admin.models import Changed, model_json, rule_json
from imagegate.admin.preferences import preference_json
from imagegate.catalogue import preference_rows
from imagegate.catalogue import prices as price_rows
from imagegate.catalogue.preferences import PreferenceBook
from imagegate.catalogue.prices import PriceBook
from imagegate.catalogue.rule_rows import under_rules
from imagegate.services import Services

router = APIRouter()

Name = Annotated[str, Field(min_length=1, max_length=200)]


class NewAlias(Change):
    alias: Annotated[Name, Field(description="A name that the catalogue does not give.")]


class Redirection(Change):
    target: Annotated[
        Name, Field(description="Any name of the model that is to serve and price the requests.")
    ]


class Preferred(Change):
    provider: Annotated[
        Name | None, Field(description="Of this provider's offering; null = of the model, among models.")
    ] = None


class NewPreference(Preferred):
    rank: Annotated[int | None, Field(ge=1, le=10_000, description="For `best`: 1 is the best.")] = None
    weight: Annotated[int | None, Field(ge=0, le=10_000, description="For `balanced`: its share.")] = None


@reads(router, "/models", Query, "List models")
async def list_models(reading: Reading, _: Query) -> JsonObject:
    """All models of the catalogue, disabled ones too, each with its rule and its price."""
    services, connection = reading.services, reading.connection
    catalogue = await under_rules(connection, services.catalogue)
    book = PriceBook(await price_rows.load(connection))
    data = [model_json(catalogue, book, services.credentials, model) for model in catalogue.models.values()]
    return {"object": "list", "data": data, "has_more": False, "next": None}


@reads(router, "/models/rules", Query, "List rules of models")
async def list_rules(reading: Reading, _: Query) -> JsonObject:
    """Disabled and redirected models, and aliases that operators gave, by name."""
    catalogue = await under_rules(reading.connection, reading.services.catalogue)
    data = [rule_json(rule) for rule in catalogue.rules.rules]
    return {"object": "list", "data": data, "has_more": False, "next": None}


@reads(router, "/models/preferences", Query, "List preferences")
async def list_preferences(reading: Reading, _: Query) -> JsonObject:
    """Ranks and weights that operators gave, by model and provider; they go before the catalogue's own."""
    known = PreferenceBook(await preference_rows.load(reading.connection)).preferences
    data = [preference_json(preference) for preference in known]
    return {"object": "list", "data": data, "has_more": False, "next": None}


@reads(router, "/models/{model:path}", Query, "Show a model")
async def get_model(reading: Reading, _: Query) -> JsonObject:
    """What a request for the model gets: `served_by` names the model that serves and prices it, null when disabled."""
    services = reading.services
    catalogue = await under_rules(reading.connection, services.catalogue)
    model = models.get_model(catalogue, reading.path["model"])
    return await shown(services, reading.connection, (catalogue, model))


@writes(router, "/models/{model:path}/disable", "models:write", Change, "Disable a model")
async def disable_model(writing: Writing, _: Change) -> JsonObject:
    """Requests for it are answered 404 and `/v1/models` does not list it. What is being made is finished and paid."""
    done = await models.disable(writing.tx, writing.services.catalogue, writing.path["model"], writing.actor)
    return await shown(writing.services, writing.tx, done)


@writes(router, "/models/{model:path}/enable", "models:write", Change, "Enable a model")
async def enable_model(writing: Writing, _: Change) -> JsonObject:
    """It serves its own requests again: neither disabled nor redirected."""
    done = await models.enable(writing.tx, writing.services.catalogue, writing.path["model"], writing.actor)
    return await shown(writing.services, writing.tx, done)


@writes(router, "/models/{model:path}/redirect", "models:write", Redirection, "Redirect a model")
async def redirect_model(writing: Writing, body: Redirection) -> JsonObject:
    """Its requests are served and priced as the target's, and the answers name the target."""
    catalogue, named = writing.services.catalogue, writing.path["model"]
    done = await models.redirect(writing.tx, catalogue, named, body.target, writing.actor)
    return await shown(writing.services, writing.tx, done)


@writes(router, "/models/{model:path}/alias", "models:write", NewAlias, "Give a model an alias")
async def give_alias(writing: Writing, body: NewAlias) -> JsonObject:
    """A further name. One that an operator gave to another model becomes this one's."""
    catalogue, named = writing.services.catalogue, writing.path["model"]
    done = await models.give_alias(writing.tx, catalogue, named, body.alias, writing.actor)
    return await shown(writing.services, writing.tx, done)


@writes(router, "/models/{alias:path}/unalias", "models:write", Change, "Take an alias away")
async def take_alias(writing: Writing, _: Change) -> JsonObject:
    """An alias that an operator gave is no name any more. The answer is the rule that it was."""
    catalogue, named = writing.services.catalogue, writing.path["alias"]
    return rule_json(await models.take_alias(writing.tx, catalogue, named, writing.actor))


@writes(router, "/models/{model:path}/prefer", "models:write", NewPreference, "Prefer a model or an offering")
async def prefer(writing: Writing, body: NewPreference) -> JsonObject:
    """For the policies `best` and `balanced`. What is not said stays as it was."""
    catalogue, named, said = writing.services.catalogue, writing.path["model"], (body.rank, body.weight)
    made = await preferences.prefer(writing.tx, catalogue, named, body.provider, *said, writing.actor)
    return preference_json(made)


@writes(router, "/models/{model:path}/unprefer", "models:write", Preferred, "Take a preference back")
async def unprefer(writing: Writing, body: Preferred) -> JsonObject:
    """The catalogue's rank and weight count again. The answer is what was preferred."""
    catalogue, named = writing.services.catalogue, writing.path["model"]
    return preference_json(
        await preferences.unprefer(writing.tx, catalogue, named, body.provider, writing.actor)
    )


async def shown(services: Services, connection: AsyncConnection, changed: Changed) -> JsonObject:
    catalogue, model = changed
    book = PriceBook(await price_rows.load(connection))
    return model_json(catalogue, book, services.credentials, model)
