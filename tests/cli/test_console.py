import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from tests.cli.conftest import Shell


class Unled(urllib.request.HTTPRedirectHandler):
    """Answers that lead elsewhere are taken as they are."""

    def redirect_request(self, *args: Any) -> None:
        return None


def enter(link: str) -> int:
    """What the sign-in says to the token of a link."""
    at = urllib.parse.urlsplit(link)
    base = f"{at.scheme}://{at.netloc}"
    body = urllib.parse.urlencode({"token": urllib.parse.parse_qs(at.query)["token"][0]}).encode()
    asked = urllib.request.Request(f"{base}{at.path}", body, {"origin": base})
    try:
        with urllib.request.build_opener(Unled, urllib.request.ProxyHandler({})).open(
            asked, timeout=20
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_first_start_and_the_verb_print_links_that_sign_in_once(shell: Shell) -> None:
    with shell.serving("serve", "--port", "0") as gateway:
        assert gateway.process.stderr is not None
        said = next(line for line in gateway.process.stderr if "Console" in line)
        first = said.rpartition(" ")[2].strip()
        printed = shell.json("console", "link", "--role", "read", "--url", gateway.answer["url"])

        assert [enter(first), enter(first)] == [303, 401]
        assert [enter(printed["url"]), enter(printed["url"])] == [303, 401]
    assert printed["role"] == "read"


def test_the_link_s_address_is_the_public_one(shell: Shell) -> None:
    public = shell.having(IMAGEGATE_PUBLIC_URL="https://images.example.com/")

    assert shell.json("console", "link")["url"].startswith("http://127.0.0.1:8080/console/sign-in?token=")
    assert public.json("console", "link")["url"].startswith(
        "https://images.example.com/console/sign-in?token="
    )


def test_a_header_that_anybody_could_send_is_refused(shell: Shell) -> None:
    for proxies in ("", "*"):
        naming = shell.having(
            IMAGEGATE_CONSOLE_SSO_HEADER="X-Forwarded-User", IMAGEGATE_TRUSTED_PROXIES=proxies
        )
        assert "IMAGEGATE_TRUSTED_PROXIES" in naming.refused("console", "link")["message"]
