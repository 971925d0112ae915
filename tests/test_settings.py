"""What refuses the start."""

from typing import get_args

import pytest

from imagegate.cli import options
from imagegate.errors import OperatorError
from imagegate.settings import RoutingPolicy, load_settings


@pytest.mark.parametrize("name", ["auto", "auto:catalogue", "auto:dearest", "auto:"])
def test_a_default_model_that_chooses_nothing_refuses_the_start(name: str) -> None:
    with pytest.raises(OperatorError) as refused:
        load_settings(None, default_model=name)

    message = str(refused.value)
    assert f"IMAGEGATE_DEFAULT_MODEL: Value error, {name} names no model" in message
    assert "auto:cheapest, auto:fastest, auto:best, auto:balanced" in message


@pytest.mark.parametrize("name", ["auto:cheapest", "auto:balanced", "sandbox", "autoware/flux"])
def test_a_model_or_a_policy_that_chooses_one_may_be_the_default(name: str) -> None:
    assert load_settings(None, default_model=name).default_model == name


def test_the_command_line_knows_every_policy_of_routing() -> None:
    assert get_args(options.RoutingPolicy) == get_args(RoutingPolicy)
