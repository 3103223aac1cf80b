import json

import pyarrow as pa

from pipeline.synthesis.effects import BIT
from pipeline.synthesis.tally import Tally


def table(*rows: tuple[str, int, int]) -> pa.Table:
    """Rows of text, effects and draw."""
    texts, effects, draws = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    return pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "effects": pa.array(effects, pa.int64()),
            "draw": pa.array(draws, pa.int32()),
            "width": pa.array([10] * len(rows), pa.int32()),
            "image": pa.array([b"abc"] * len(rows), pa.binary()),
        }
    )


FIRST = table(("ab", BIT["blur"] | BIT["curve"], 0), ("b", BIT["blur"], 3))
SECOND = table(("abc", 0, 0))


def test_everything_is_counted() -> None:
    tally = Tally.of(FIRST)
    assert (tally.rows, tally.draws, tally.columns, tally.image_bytes) == (2, 4, 20, 6)
    assert tally.lengths == {2: 1, 1: 1}
    assert tally.characters == {"a": 1, "b": 2}
    assert tally.effects == {"blur": 2, "curve": 1}


def test_tallies_add_up() -> None:
    both = Tally.of(FIRST) + Tally.of(SECOND)
    assert (both.rows, both.draws) == (3, 5)
    assert both.characters == {"a": 2, "b": 3, "c": 1}
    assert Tally() + both == both


def test_an_empty_shard_is_nothing() -> None:
    assert Tally.of(table()) == Tally()


def test_a_tally_survives_json() -> None:
    tally = Tally.of(FIRST)
    again = Tally.from_dict(json.loads(json.dumps(tally.to_dict())))
    assert again == tally
    assert again + tally == tally + tally
