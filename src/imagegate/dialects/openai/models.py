"""A model as `GET /v1/models` shows it: OpenAI's four fields, then sizes, prices and what it can do."""

from typing import Any

from imagegate.domain import Model
from imagegate.services import Services
from imagegate.web.pricing import pricing_of


def model_object(services: Services, model: Model, env: str) -> dict[str, Any]:
    """`available`: a provider that sells it is configured, and it has a price. Raises UnknownModel for a disabled one.

    Of a redirected model everything but its names is what the model has that serves its requests.
    """
    served = services.catalogue.served(model)
    pricing = pricing_of(services, served)
    offerings = services.catalogue.shelf(env).get(served.id, ())
    providers = [o.provider for o in offerings if o.provider in services.credentials]
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.creator,
        "shutdown_date": model.shutdown_date,
        "successor": model.successor,
        "redirected_to": served.id if served is not model else None,
        "aliases": [model.name, *model.aliases, *services.catalogue.rules.aliases_of(model.id)],
        "available": bool(providers) and pricing is not None,
        "providers": providers,
        "operations": list(served.operations),
        "sizes": [str(size) for size in served.sizes],
        "default_size": str(served.default_size),
        "qualities": list(served.qualities),
        "default_quality": served.default_quality,
        "max_prompt_chars": served.max_prompt_chars,
        "pricing": pricing,
    }
