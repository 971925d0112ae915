from pathlib import Path

import pytest

from imagegate.catalogue.catalogue import load_catalogue
from imagegate.errors import OperatorError

FILE = """
models:
- id: acme/painter
  rank: {rank}
  weight: 3
  offerings:
  - {{provider: openai, model: painter, rank: 2, weight: 0, fallback_on_ambiguous: true, cost: {{usd: 0.01}}}}
"""


def test_a_catalogue_file_gives_ranks_weights_and_permission_to_fall_back(tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text(FILE.format(rank=1))

    model = load_catalogue(file).models["acme/painter"]

    (offering,) = model.offerings
    assert (model.rank, model.weight) == (1, 3)
    assert (offering.rank, offering.weight, offering.fallback_on_ambiguous) == (2, 0, True)


@pytest.mark.parametrize("rank", [0, 10_001, "first", True])
def test_a_rank_that_is_none_is_refused(tmp_path: Path, rank: object) -> None:
    file = tmp_path / "more.yaml"
    file.write_text(FILE.format(rank=rank))

    with pytest.raises(OperatorError, match=r"models\.0\.rank"):
        load_catalogue(file)


def test_about_ten_current_models_have_a_rank_each_its_own() -> None:
    catalogue = load_catalogue()

    ranked = {model.id: model.rank for model in catalogue.models.values() if model.rank is not None}

    assert sorted(ranked.values()) == list(range(1, len(ranked) + 1))
    assert 8 <= len(ranked) <= 15
    assert not [id_ for id_ in ranked if catalogue.entries[id_].retired]
    assert not [o for m in catalogue.models.values() for o in m.offerings if o.fallback_on_ambiguous]
