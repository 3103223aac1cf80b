"""Recipes are whole configs that hold together."""

import pytest

from crnn.checkpoint import Bundle
from crnn.model import CRNN, count_parameters
from crnn.shipped import bundle_folder
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


def test_the_demo_prepares_images_as_the_model_that_it_begins_with_is_used_to() -> None:
    demo = RECIPES["demo"]()
    assert demo.start_from
    assert demo.preprocess == Bundle.load(bundle_folder(demo.start_from)).preprocess
