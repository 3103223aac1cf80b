"""Recipes are whole configs that hold together."""

import pytest

from crnn.model import CRNN, count_parameters
from jobs.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_run_that_can_be_built_and_says_what_it_is_for(name: str) -> None:
    recipe = RECIPES[name]
    config = recipe()
    assert config.name == name
    assert (recipe.__doc__ or "").partition("\n")[0].endswith(".")
    model = CRNN(config.rules.network, config.rules.charset.num_classes)
    assert count_parameters(model) > 0
    assert config.score.startswith("validation/")


def test_the_paper_recipe_is_the_papers() -> None:
    config = RECIPES["paper"]()
    model = CRNN(config.rules.network, config.rules.charset.num_classes)
    assert count_parameters(model) == 8_330_789
    assert config.optimizer.kind == "adadelta"
    assert {config.optimizer.rate(progress) for progress in (0.0, 0.5, 1.0)} == {1.0}
    assert config.pack_columns == 64 * 100
    assert config.images == 64 * 2_000_000
