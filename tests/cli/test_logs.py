"""What a verb writes to its log: one JSON object a line on stderr, and of a verb that does one thing only warnings."""

import json

from tests.cli.conftest import Shell


def test_a_generation_has_its_line_where_a_level_was_asked_for_and_no_prompt_in_it(shell: Shell) -> None:
    wanted = ("image", "a canary named pip", "-s", "256x256", "-o", "canary.png")

    quiet = shell.run(*wanted)
    told = shell.having(IMAGEGATE_LOG_LEVEL="INFO").run(*wanted)

    lines = [json.loads(line) for line in told.err.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["event"] == "generation"]
    assert (line["outcome"], line["model"], line["env"]) == ("completed", "imagegate/sandbox", "test")
    assert (line["level"], line["timestamp"][-1], line["charged_tokens"]) == ("info", "Z", 5_000)
    assert "canary" not in "".join(str(line) for line in lines)
    assert '"event":"generation"' not in quiet.err
