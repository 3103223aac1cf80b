import pytest

from pipeline.errors import ConfigError
from pipeline.protocols import FILTERS, PAPER_TABLE, named_uris


@pytest.mark.parametrize(
    ("name", "kept"), [("all", ["ab", "abc", "a-c", "é"]), ("alnum", ["ab", "abc"]), ("alnum3", ["abc"])]
)
def test_filters_keep_what_they_say(name: str, kept: list[str]) -> None:
    assert [text for text in ("ab", "abc", "a-c", "é") if FILTERS[name].keeps(text)] == kept


def test_named_uris_are_parsed_or_refused_with_an_example() -> None:
    assert named_uris(["a=s3://b/c=d"], "Data sets") == {"a": "s3://b/c=d"}
    assert list(named_uris(["IIIT5k 1k=x", "_é.2-a=y"], "Data sets")) == ["IIIT5k 1k", "_é.2-a"]
    for wrong in (["a"], ["=x"], ["a="], ["a=x", "a=y"], ["real/svt=x"], ["..=x"], [".svt=x"], ["a\\b=x"]):
        with pytest.raises(ConfigError):
            named_uris(wrong, "Data sets")


def test_both_papers_give_the_same_columns() -> None:
    columns = [set(figures) for figures in PAPER_TABLE.values()]
    assert columns[0] == columns[1]
