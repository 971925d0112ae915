"""The table of docs/operate/faults.md names tests that there are, and a fault that the folder tests is in it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/operate/faults.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
METRIC = re.compile(r"`(imagegate_\w+)`")


def named_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}


def test_every_line_of_the_matrix_names_a_test_that_there_is() -> None:
    named = NAMED.findall(PAGE.read_text())

    assert len(named) > 25
    assert [(file, test) for file, test in named if test not in named_in(ROOT / file)] == []


def test_every_test_of_a_fault_is_in_the_matrix() -> None:
    named = set(NAMED.findall(PAGE.read_text()))
    files = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]

    there = {(str(path.relative_to(ROOT)), test) for path in files for test in named_in(path)}

    assert there - named == set()


def test_every_metric_of_the_page_is_one() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src/imagegate").rglob("*.py"))

    assert [
        name for name in METRIC.findall(PAGE.read_text()) if name.removesuffix("_total") not in source
    ] == []
