"""Every node is asked from inside, and another Ray is named."""

import platform
from importlib.metadata import version

import pytest

from pipeline.checks.cluster import check_nodes, same_version

pytestmark = pytest.mark.usefixtures("local_ray")


def test_a_node_that_agrees_is_told_with_its_python_and_ray() -> None:
    (found,) = check_nodes()
    assert found.good
    assert found.what.startswith("node ")
    assert found.told.startswith(f"Python {platform.python_version()}, Ray {version('ray')}, clock 0 s off")


def test_versions_agree_to_the_letter_or_are_told_with_what_to_install() -> None:
    assert same_version("head", "2.60.0", "2.60.0").good
    other = same_version("head", "2.59.1", "2.60.0")
    assert not other.good
    assert other.told == "Ray 2.59.1 there, 2.60.0 here"
    assert "install ray==2.59.1 here" in other.advice
