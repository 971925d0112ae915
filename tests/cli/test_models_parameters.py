from pathlib import Path

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.cli.models_parameters import document

PAGE = Path(__file__).parent.parent.parent / "docs" / "providers" / "parameters.md"


def test_the_page_of_parameters_is_what_the_catalogue_says() -> None:
    assert PAGE.read_text() == document(load_catalogue()), "write it anew: make docs"
