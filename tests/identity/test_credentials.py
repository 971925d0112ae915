"""Our keys at providers: which one is taken when, how they are sealed, and how they are written in the environment."""

from collections.abc import Sequence

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from imagegate.domain import Credential
from imagegate.errors import Ambiguous, NotSent, OperatorError, RefusedUnbilled
from imagegate.identity.credentials import Access, CredentialBook, ProviderKey
from imagegate.identity.sealing import CannotOpen, seal, unseal
from imagegate.identity.secret import Keyring
from imagegate.settings import read_providers

MASTER, OTHER = b"0f6uZrT1qWb9xKcV3mNp8sLd2hGj5yEa", b"Zy8wVu6tSr4qPo2nMl0kJi9hGf7eDc5b"
HERE = Credential("https://provider.example", SecretStr("first"))
BAD = RefusedUnbilled("acme", "refused our key", bad_key=True)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def busy(retry_after_s: float | None = None) -> RefusedUnbilled:
    return RefusedUnbilled("acme", "is busy", busy=True, retry_after_s=retry_after_s)


def access(*ids: str, enabled: bool = True) -> Access:
    keys = tuple(ProviderKey(id_, SecretStr(f"secret-{id_}"), id_[-4:]) for id_ in ids)
    return Access(HERE, keys, enabled)


def book_of(clock: Clock, *ids: str) -> CredentialBook:
    return CredentialBook({"acme": access(*ids)}, clock)


def picked(book: CredentialBook, times: int = 3) -> Sequence[str]:
    return [book.pick("acme").id for _ in range(times)]


def test_a_key_is_kept_until_it_is_limited_and_the_next_one_then_as_well(clock: Clock) -> None:
    book = book_of(clock, "a", "b")

    at_first = picked(book)
    book.report("acme", "a", busy(1))
    clock.now += 0.5
    next_one = picked(book)
    clock.now += 10

    assert at_first == ["a", "a", "a"]
    assert next_one == ["b", "b", "b"]
    assert picked(book) == ["b", "b", "b"]


def test_a_limited_key_rests_as_long_as_the_provider_says_and_no_longer_than_a_minute(clock: Clock) -> None:
    book = book_of(clock, "a", "b")

    book.report("acme", "a", busy(20))
    resting = [book.state_of("acme", "a"), picked(book, 1)]
    book.report("acme", "b", busy(100_000))
    clock.now += 20
    back = picked(book, 1)
    clock.now += 39
    late = book.state_of("acme", "b")
    clock.now += 1

    assert resting == [("resting", 20.0), ["b"]]
    assert back == ["a"]
    assert late == ("resting", 1.0)
    assert book.state_of("acme", "b") == ("ready", 0.0)


def test_of_usable_keys_the_one_limited_longest_ago_is_taken(clock: Clock) -> None:
    book = book_of(clock, "a", "b", "c")
    for limited in ("b", "c", "a"):
        clock.now += 1
        book.report("acme", limited, busy(3))
    clock.now += 2.5

    at_first = picked(book, 1)
    book.report("acme", "b", busy(60))
    clock.now += 10

    assert at_first == ["b"]
    assert picked(book, 2) == ["c", "c"]


def test_a_refused_key_is_put_out_twice_as_long_each_time_and_a_success_forgives_it(clock: Clock) -> None:
    book, waits = book_of(clock, "a", "b"), []

    for _ in range(9):
        book.report("acme", "a", BAD)
        state, for_s = book.state_of("acme", "a") or ("", 0.0)
        waits.append(for_s)
        assert state == "refused"
        clock.now += for_s
    book.report("acme", "a", None)
    book.report("acme", "a", BAD)

    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert book.state_of("acme", "a") == ("refused", 60.0)


def test_calls_that_are_refused_together_count_once_and_one_line_says_which_key(clock: Clock) -> None:
    book = book_of(clock, "pvk_0123", "b")

    with capture_logs() as lines:
        for _ in range(50):
            book.report("acme", "pvk_0123", BAD)

    assert book.state_of("acme", "pvk_0123") == ("refused", 60.0)
    (line,) = lines
    assert (line["event"], line["provider"], line["key"]) == ("provider_key_refused", "acme", "pvk_0123")
    assert (line["hint"], line["out_s"]) == ("0123", 60)
    assert "secret" not in str(lines)


def test_when_every_key_is_out_the_least_bad_one_is_tried(clock: Clock) -> None:
    book = book_of(clock, "a", "b", "c")
    book.report("acme", "a", BAD)
    clock.now += 1
    book.report("acme", "b", BAD)
    book.report("acme", "c", busy(50))

    resting_before_refused = picked(book, 1)
    book.report("acme", "c", BAD)

    assert resting_before_refused == ["c"]
    assert picked(book, 1) == ["a"]
    assert not book.helps("acme", BAD)


@pytest.mark.parametrize(
    "error", [NotSent("acme", "no connection"), Ambiguous("acme", "answered 504"), OSError()]
)
def test_what_is_not_the_keys_fault_does_not_touch_it(clock: Clock, error: Exception) -> None:
    book = book_of(clock, "a", "b")

    book.report("acme", "a", error)

    assert book.state_of("acme", "a") == ("ready", 0.0)
    assert not book.helps("acme", error)


def test_another_key_helps_only_where_there_is_one_and_nothing_can_have_been_billed(clock: Clock) -> None:
    alone, both = book_of(clock, "a"), book_of(clock, "a", "b")
    risky = RefusedUnbilled("acme", "is busy", busy=True, at_risk=True)
    for book in (alone, both):
        book.report("acme", "a", busy())

    assert not alone.helps("acme", busy())
    assert both.helps("acme", busy())
    assert both.helps("acme", BAD)
    assert not both.helps("acme", risky)
    assert not both.helps("acme", RefusedUnbilled("acme", "does not offer this model"))
    assert picked(alone) == ["a"] * 3


def test_a_changed_book_keeps_what_it_knows_of_keys_that_stay(clock: Clock) -> None:
    book = book_of(clock, "a", "b")
    book.report("acme", "a", busy(30))
    assert picked(book, 1) == ["b"]

    book.replace({"acme": access("b", "a", "c")})
    kept = book.state_of("acme", "a"), picked(book, 1)
    book.replace({"acme": access("a", "c")})

    assert kept == (("resting", 30.0), ["b"])
    assert picked(book, 1) == ["c"]
    assert book.state_of("acme", "b") is None


def test_plans_are_told_of_a_change_and_of_nothing_else(clock: Clock) -> None:
    book = book_of(clock, "a")
    before = book.current

    book.replace({"acme": access("a")})
    unchanged = book.current
    book.replace({"acme": access("a", enabled=False)})

    assert unchanged is before
    assert book.current is not before
    assert "acme" not in book
    assert list(book) == []
    assert "acme" in book.configured
    assert book.pick("acme", "a").id == "a"
    assert book.pick("nobody").secret is None


def test_work_is_asked_about_with_its_own_key_while_that_is_there(clock: Clock) -> None:
    book = book_of(clock, "a", "b")
    book.report("acme", "b", busy(30))

    assert book.pick("acme", "b").id == "b"
    assert book.pick("acme", "gone").id == "a"


def test_a_sealed_key_is_opened_by_its_own_master_in_its_own_row_alone() -> None:
    key, other = Keyring.derive(MASTER).sealing, Keyring.derive(OTHER).sealing
    sealed = seal(key, "sk-live-0123456789", b"row 1")

    faults = []
    for wrong in ((other, sealed, b"row 1"), (key, sealed, b"row 2"), (key, sealed[:-1], b"row 1")):
        with pytest.raises(CannotOpen) as raised:
            unseal(*wrong)
        faults.append(raised.value.message)

    assert unseal(key, sealed, b"row 1") == "sk-live-0123456789"
    assert seal(key, "sk-live-0123456789", b"row 1") != sealed
    assert b"sk-live" not in sealed
    assert faults == ["was sealed under another IMAGEGATE_SECRET", "is damaged", "is damaged"]
    for broken in (b"", b"\x02" + sealed[1:], sealed[:12]):
        with pytest.raises(CannotOpen, match="form"):
            unseal(key, broken, b"row 1")


def test_several_keys_stand_in_one_variable() -> None:
    found = read_providers(
        {"IMAGEGATE_OPENAI_API_KEY": " sk-one , sk-two", "IMAGEGATE_BFL_API_KEY": "sk-only"}
    )

    assert [key.get_secret_value() for key in found["openai"].api_keys] == ["sk-one", "sk-two"]
    assert [key.get_secret_value() for key in found["bfl"].api_keys] == ["sk-only"]
    assert "sk-" not in repr(found)


@pytest.mark.parametrize("value", ["sk-one,,sk-two", "sk-one,", ",", " ", "sk-one, sk-one"])
def test_an_empty_key_and_a_key_that_stands_twice_are_refused(value: str) -> None:
    with pytest.raises(OperatorError, match="IMAGEGATE_OPENAI_API_KEY") as raised:
        read_providers({"IMAGEGATE_OPENAI_API_KEY": value})

    assert "sk-one" not in raised.value.message
