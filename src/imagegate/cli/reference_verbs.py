"""The page of the reference on the command line, as Markdown, from the verbs themselves."""

from collections.abc import Iterator
from typing import Any

HEAD = """# The command line

Written by `imagegate reference cli`; a test compares it with the code. What the verbs are for, and how they work
together: [the command line](../cli.md). `--json`, before or after any verb, makes stdout one JSON value.
"""
WORDS = {"str": "TEXT", "int": "N", "float": "N"}
EVERYWHERE = {"help", "json", "install_completion", "show_completion"}


def verbs() -> str:
    from imagegate.cli import command

    return "\n".join([HEAD, *below(command(), "imagegate")]).rstrip("\n") + "\n"


def below(group: Any, path: str) -> Iterator[str]:
    """Every verb of a group and of the groups in it, in the order they are listed."""
    for name, verb in group.commands.items():
        if verb.hidden:
            continue
        if hasattr(verb, "commands"):
            yield f"## {path} {name}\n"
            yield f"{said(verb.help)}\n"
            if verb.invoke_without_command:
                yield from options(verb)
            yield from below(verb, f"{path} {name}")
        else:
            yield f"{'##' if path == 'imagegate' else '###'} {path} {name}\n"
            yield f"{said(verb.help)}\n"
            yield from options(verb)


def options(verb: Any) -> Iterator[str]:
    rows = [
        row(one) for one in verb.params if one.name not in EVERYWHERE and not getattr(one, "hidden", False)
    ]
    if rows:
        yield "| argument or option | default | |"
        yield "|---|---|---|"
        yield from rows
        yield ""


def row(one: Any) -> str:
    if one.param_type_name == "argument":
        name = one.metavar or one.name.upper()
        name = name if one.required or name.startswith("[") else f"[{name}]"
    else:
        takes = "" if one.is_flag else f" {takes_of(one)}"
        name = ", ".join((*one.opts, *one.secondary_opts)) + takes
    plain = isinstance(one.default, str | int | float) and not isinstance(one.default, bool)
    default = f"`{one.default}`" if plain and one.default != "" else ""
    needed = "**needed.** " if one.required and one.param_type_name == "option" else ""
    return f"| `{cell(name)}` | {cell(default)} | {needed}{cell(said(one.help))} |"


def takes_of(option: Any) -> str:
    """What follows an option: its own word, its choices, or its kind."""
    if option.metavar:
        return str(option.metavar)
    if option.type_descriptor.is_choice:
        return "/".join(map(str, option.type_descriptor.choices))
    kind: str = option.bare_type()
    return WORDS.get(kind, kind.upper())


def said(text: str | None) -> str:
    """On one line."""
    return " ".join((text or "").split())


def cell(text: str) -> str:
    return text.replace("|", "\\|")
