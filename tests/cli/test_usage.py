import csv
import io

from tests.cli.conftest import Shell

SPAN = ("--account", "violet", "--env", "test", "--since", "1h")


def test_usage_is_told_as_table_json_and_csv(shell: Shell) -> None:
    shell.json("accounts", "create", "violet")
    for count in ("1", "2"):
        shell.json("image", "a fox", "-m", "sandbox", "-s", "256x256", "-n", count, "--account", "violet")

    shown = shell.json("usage", *SPAN)
    table = shell.run("usage", *SPAN, "--by", "model,size", "--bucket", "day").out
    text = shell.run("usage", *SPAN, "--by", "app", "--by", "provider", "--csv").out

    assert (shown["env"], shown["by"], shown["bucket"]) == ("test", ["model"], "none")
    (row,) = shown["rows"]
    assert row == {
        "model": "imagegate/sandbox",
        "generations": 2,
        "images": 3,
        "errors": 0,
        "charged_tokens": 15_000,
        "cost_usd": row["cost_usd"],
        "at_risk_usd": "0",
    }
    assert "256x256" in table
    assert "15,000" in table
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["app"], line["provider"], line["images"], line["charged_tokens"]) == (
        "cli",
        "sandbox",
        "3",
        "15000",
    )


def test_days_and_hours_are_grouped_by_like_anything_else(shell: Shell) -> None:
    shell.json("accounts", "create", "hourly")
    shell.json("image", "a fox", "-m", "sandbox", "-s", "256x256", "--account", "hourly")
    of = ("--account", "hourly", "--env", "test")

    by_day, by_hour = (
        shell.json("usage", *of, "--by", "day"),
        shell.json("usage", *of, "--by", "app,key,hour"),
    )

    assert (by_day["by"], by_day["bucket"]) == ([], "day")
    assert by_day["rows"][0]["at"].endswith("T00:00:00Z")
    assert (by_hour["by"], by_hour["bucket"]) == (["app", "key"], "hour")
    (row,) = by_hour["rows"]
    assert (row["app"], row["key"][:4], row["images"]) == ("cli", "key_", 1)
    assert shell.run("usage", *of, "--by", "day,hour").code == 2
    assert shell.run("usage", *of, "--by", "day", "--bucket", "hour").code == 2


def test_a_label_is_no_formula_in_a_spreadsheet(shell: Shell) -> None:
    name = "=1+2"
    shell.json("accounts", "create", name)
    shell.json("image", "a fox", "-m", "sandbox", "-s", "256x256", "--account", name)

    text = shell.run("usage", "--account", name, "--env", "test", "--by", "account", "--csv").out

    assert text.splitlines()[1].startswith("'=1+2,1,1,")


def test_what_is_wrong_is_said(shell: Shell) -> None:
    assert shell.refused("usage", "--by", "colour")["code"] == "invalid_value"
    assert shell.refused("usage", "--account", "nobody")["code"] == "not_found"
    assert shell.run("usage", "--json", "--csv").code == 2
    assert shell.run("usage", "--since", "soon").code == 2
    assert "Nothing was made" in shell.run("usage", "--since", "2020-01-01", "--until", "2020-01-02").out
