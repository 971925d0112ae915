"""Rules of models over the packaged catalogue: what a name leads to, and where it leads nowhere."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from imagegate.catalogue.catalogue import Catalogue, load_catalogue
from imagegate.catalogue.prices import Price, PriceBook
from imagegate.catalogue.pricing import default_terms
from imagegate.catalogue.rules import Rule, RuleBook, RuleKind
from imagegate.domain import Credential, GenerationRequest
from imagegate.errors import UnknownModel
from imagegate.generation.planning import plan
from imagegate.settings import Settings

PACKAGED = load_catalogue()
NOW = datetime.now(UTC)
MINI, FLARE, DALLE3 = "openai/gpt-image-1-mini", "openai/gpt-image-2.5-flare", "openai/dall-e-3"
RECRAFT = "recraft/recraftv4"


def rule(name: str, kind: RuleKind, target: str | None = None) -> Rule:
    return Rule(name, kind, target, "a test", "tests", NOW)


def under(*rules: Rule) -> Catalogue:
    return replace(PACKAGED, rules=RuleBook(rules))


def served(catalogue: Catalogue, name: str) -> tuple[str, str | None]:
    match = catalogue.find_served(name)
    return match.model.id, match.forced_provider


def refusal(catalogue: Catalogue, name: str) -> str:
    with pytest.raises(UnknownModel) as refused:
        catalogue.find_served(name)
    assert (refused.value.status, refused.value.code) == (404, "model_not_found")
    return refused.value.message


def test_without_rules_every_model_serves_itself() -> None:
    for model in PACKAGED.models.values():
        assert PACKAGED.served(model) is model
    assert list(PACKAGED.listed()) == list(PACKAGED.models.values())


@pytest.mark.parametrize("name", [MINI, "gpt-image-1-mini", "GPT-Image-1-Mini", "openai:gpt-image-1-mini"])
def test_a_disabled_model_is_found_by_operators_alone_whatever_it_is_called(name: str) -> None:
    catalogue = under(rule(MINI, "disabled"))

    assert MINI in refusal(catalogue, name)
    assert "disabled" in refusal(catalogue, name)
    assert catalogue.find(name).model.id == MINI
    assert MINI not in [model.id for model in catalogue.listed()]


def test_a_retired_model_goes_with_the_one_that_serves_it_unless_it_has_a_rule_itself() -> None:
    assert served(PACKAGED, "dall-e-3")[0] == DALLE3

    disabled = under(rule(FLARE, "disabled"))
    redirected = under(rule(FLARE, "redirect", MINI))
    own = under(rule(FLARE, "disabled"), rule(DALLE3, "redirect", MINI))

    assert f"{DALLE3} is served by {FLARE}" in refusal(disabled, "dall-e-3")
    assert served(redirected, "dall-e-3")[0] == MINI
    assert served(own, "dall-e-3")[0] == MINI


def test_redirects_are_followed_to_the_end() -> None:
    catalogue = under(rule(MINI, "redirect", FLARE), rule(FLARE, "redirect", RECRAFT))

    assert served(catalogue, "gpt-image-1-mini") == (RECRAFT, None)
    assert served(catalogue, "flux-kontext-max") == ("black-forest-labs/flux-kontext-max", None)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([rule(MINI, "redirect", FLARE), rule(FLARE, "disabled")], f"{MINI} is served by {FLARE}"),
        ([rule(MINI, "redirect", FLARE), rule(FLARE, "redirect", MINI)], "circle"),
        ([rule(MINI, "redirect", DALLE3), rule(FLARE, "redirect", MINI)], "circle"),
        ([rule(MINI, "redirect", "gone/away")], "gone/away"),
    ],
)
def test_a_redirect_that_leads_nowhere_serves_nobody(rules: list[Rule], said: str) -> None:
    assert said in refusal(under(*rules), MINI)


def test_a_provider_can_be_forced_only_if_it_sells_what_serves() -> None:
    catalogue = under(rule(MINI, "redirect", FLARE), rule(DALLE3, "redirect", RECRAFT))

    assert served(catalogue, "openai:gpt-image-1-mini") == (FLARE, "openai")
    assert f"redirected to {RECRAFT} here, which openai does not sell" in refusal(
        catalogue, "openai:dall-e-3"
    )


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("shop/Pretty", None),
        ("SHOP/pretty", None),
        ("openai:shop/Pretty", "openai"),
        ("openai/shop/Pretty", "openai"),
        ("openai:shop/pretty", "openai"),
    ],
)
def test_an_alias_is_a_name_like_any_other(name: str, provider: str | None) -> None:
    catalogue = under(rule("shop/Pretty", "alias", MINI), rule(MINI, "redirect", FLARE))

    assert catalogue.find(name).model.id == MINI
    assert served(catalogue, name) == (FLARE, provider)
    assert catalogue.rules.aliases_of(MINI) == ["shop/Pretty"]


def test_an_alias_of_what_is_gone_and_a_stranger_with_an_alias_are_no_models() -> None:
    catalogue = under(rule("pretty", "alias", MINI), rule("old", "alias", "gone/away"))

    assert "gone/away" in refusal(catalogue, "old")
    assert MINI in refusal(catalogue, "recraft:pretty")


def test_a_plan_that_is_kept_does_not_outlive_a_change_of_rules() -> None:
    catalogue = under()
    book = PriceBook({id_: price_of(id_) for id_ in (MINI, FLARE)})
    request = GenerationRequest("a cat", model="gpt-image-1-mini", quality="low")

    def planned() -> tuple[str, int]:
        made: Any = plan(
            request,
            "live",
            catalogue=catalogue,
            prices=book,
            credentials={"openai": Credential("http://127.0.0.1:1", SecretStr("k"))},
            default_model=MINI,
        )
        return made.model.id, made.quote.hold_tokens

    before, again = planned(), planned()
    catalogue.rules.replace([rule(MINI, "redirect", FLARE)])
    redirected = planned()
    catalogue.rules.replace([rule(MINI, "disabled")])
    with pytest.raises(UnknownModel):
        planned()
    catalogue.rules.replace([])

    assert before == again == planned()
    assert (before[0], redirected[0]) == (MINI, FLARE)
    assert before[1] != redirected[1]


def price_of(model_id: str) -> Price:
    default = default_terms(PACKAGED.entries[model_id], Settings(_env_file=None))
    assert default is not None
    return Price(model_id, 1, default.terms, "tests", None, "a test", "tests", Decimal(1), NOW)
