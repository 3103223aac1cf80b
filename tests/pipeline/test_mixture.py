"""Mixtures: each set's share of every window, epochs of each set's own, the same plan every time."""

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.mixture import plan_mixture, rows_seen, training_sets
from pipeline.order import Part, Window, plan_windows

SHARDS = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(lambda rows: sum(rows) > 0)


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `plan_mixture` for two to four sets."""
    rows = draw(st.lists(SHARDS, min_size=2, max_size=4))
    weights = draw(st.lists(st.integers(1, 20), min_size=len(rows), max_size=len(rows)))
    least = -(-sum(weights) // min(weights))
    return {
        "shard_rows": rows,
        "shares": [Fraction(weight, sum(weights)) for weight in weights],
        "images": draw(st.integers(1, 600)),
        "window_rows": draw(st.integers(least, least + 100)),
        "seed": draw(st.integers(0, 5)),
    }


def rows_of(windows: list[Window], mixture: dict[str, Any]) -> list[tuple[int, int, int, int]]:
    """Source, epoch, shard and row of each image, in reading order."""
    return [
        (part.source, part.epoch, part.shard, int(row))
        for window in windows
        for part in window.parts
        for row in part.rows(mixture["shard_rows"][part.source][part.shard], mixture["seed"])
    ]


@settings(deadline=None)
@given(mixtures())
def test_after_any_window_each_set_has_given_its_share_to_within_a_row(mixture: dict[str, Any]) -> None:
    windows = plan_mixture(**mixture)
    size = mixture["window_rows"]
    assert [w.index for w in windows] == list(range(len(windows)))
    assert (len(windows) - 1) * size < mixture["images"] <= len(windows) * size
    for count in range(1, len(windows) + 1):
        seen = rows_seen(windows[:count], mixture["shard_rows"])
        assert sum(seen) == count * size
        shares = mixture["shares"]
        assert all(abs(n - share * count * size) < 1 for n, share in zip(seen, shares, strict=True))


@settings(deadline=None)
@given(mixtures())
def test_a_set_is_read_in_whole_epochs_one_after_the_other(mixture: dict[str, Any]) -> None:
    windows = plan_mixture(**mixture)
    for source, shards in enumerate(mixture["shard_rows"]):
        everything = {(shard, row) for shard, rows in enumerate(shards) for row in range(rows)}
        seen = [(e, s, r) for origin, e, s, r in rows_of(windows, mixture) if origin == source]
        epochs = [epoch for epoch, _, _ in seen]
        assert epochs == sorted(epochs)
        # Within an epoch none twice, none left out but in the last: each row (and shard) k or k + 1 times.
        for epoch in set(epochs):
            rows = [(s, r) for e, s, r in seen if e == epoch]
            assert len(set(rows)) == len(rows)
            assert epoch == epochs[-1] or set(rows) == everything
        counts = Counter((s, r) for _, s, r in seen)
        assert max(counts.values()) - min(counts[place] for place in everything) <= 1
        for count in range(1, epochs[-1] + 1):
            whole = Counter(s for e, s, _ in seen if e < count)
            assert whole == {shard: count * rows for shard, rows in enumerate(shards) if rows}


@settings(deadline=None)
@given(mixtures(), st.integers(1, 300))
def test_a_plan_is_the_same_every_time_and_a_longer_one_begins_with_it(
    mixture: dict[str, Any], more: int
) -> None:
    windows = plan_mixture(**mixture)
    assert plan_mixture(**mixture) == windows
    longer = plan_mixture(**mixture | {"images": mixture["images"] + more})
    assert longer[: len(windows)] == windows


def test_a_small_set_comes_again_and_a_large_one_is_seen_in_part() -> None:
    shard_rows, shares = [[10, 10], [100] * 10], [Fraction(1, 2)] * 2
    windows = plan_mixture(shard_rows, shares, images=200, window_rows=50, seed=1)
    assert rows_seen(windows, shard_rows) == [100, 100]
    assert max(p.epoch for w in windows for p in w.parts if p.source == 0) == 4
    assert {p.epoch for w in windows for p in w.parts if p.source == 1} == {0}


def test_seeds_and_sets_give_other_orders() -> None:
    def order(seed: int, source: int) -> list[tuple[int, int]]:
        shares = [Fraction(1, 2)] * 2
        windows = plan_mixture([[10] * 20, [10] * 20], shares, images=400, window_rows=40, seed=seed)
        return [(p.shard, p.start) for w in windows for p in w.parts if p.source == source]

    assert order(1, 0) != order(2, 0)
    assert order(1, 0) != order(1, 1)


@given(SHARDS, st.integers(1, 300), st.integers(1, 120))
def test_one_set_alone_is_read_in_whole_shards(rows: list[int], images: int, size: int) -> None:
    windows = plan_mixture([rows], [Fraction(1)], images=images, window_rows=size, seed=1)
    assert windows == plan_windows(rows, images=images, window_rows=size, seed=1)
    assert sum(rows_seen(windows, [rows])) >= images


@settings(deadline=None)
@given(mixtures(), st.sets(st.integers(0, 3), min_size=1))
def test_a_stream_gives_each_window_its_share_of_rows_that_no_other_has(
    mixture: dict[str, Any], streams: set[int]
) -> None:
    stored = plan_mixture(**mixture)
    rows = [None if source in streams else r for source, r in enumerate(mixture["shard_rows"])]
    windows = plan_mixture(**mixture | {"shard_rows": rows})
    assert rows_seen(windows, rows) == rows_seen(stored, mixture["shard_rows"])
    for window, before in zip(windows, stored, strict=True):
        kept = [part for part in before.parts if rows[part.source] is not None]
        assert [part for part in window.parts if rows[part.source] is not None] == kept
    for source in (source for source, known in enumerate(rows) if known is None):
        made = [part for window in windows for part in window.parts if part.source == source]
        shares = [rows_seen([before], mixture["shard_rows"])[source] for before in stored]
        # A share of hardly a row a window leaves some windows without one, and makes no shard there.
        expected = [(shard, 0, share) for shard, share in enumerate(share for share in shares if share)]
        assert [(part.shard, part.start, part.stop) for part in made] == expected


@given(st.integers(1, 300), st.integers(1, 120))
def test_a_stream_alone_is_read_window_by_window(images: int, size: int) -> None:
    windows = plan_mixture([None], [Fraction(1)], images=images, window_rows=size, seed=1)
    parts = [part for window in windows for part in window.parts]
    assert parts == [Part(shard=i, epoch=0, stop=size) for i in range(-(-images // size))]
    assert rows_seen(windows, [None]) == [len(windows) * size]


@given(st.integers(1, 300), st.integers(1, 120), st.integers(1, 8))
def test_the_rows_of_a_stream_are_echoed_in_their_own_window(images: int, size: int, echo: int) -> None:
    plain = plan_mixture([None], [Fraction(1)], images=images, window_rows=size, seed=1)
    windows = plan_mixture([None], [Fraction(1)], images=images, window_rows=size, seed=1, echoes=[echo])
    assert rows_seen(windows, [None]) == rows_seen(plain, [None])
    fresh = -(-size // echo)
    for window in windows:
        assert {part.shard for part in window.parts} == {window.index}
        assert len({part.epoch for part in window.parts}) == len(window.parts) <= echo
        counts = Counter(int(row) for part in window.parts for row in part.rows(fresh, seed=1))
        assert set(counts) == set(range(fresh))
        assert max(counts.values()) <= echo
        assert sum(counts.values()) == size


def test_what_gives_no_plan_is_an_error() -> None:
    halves = [Fraction(1, 2)] * 2
    with pytest.raises(ValueError, match="no usable row"):
        plan_mixture([[3], [0]], halves, images=1, window_rows=9, seed=0)
    with pytest.raises(ValueError, match="too small"):
        plan_mixture([[3], [3]], halves, images=1, window_rows=1, seed=0)
    with pytest.raises(ValueError, match="1 together"):
        plan_mixture([[3], [3]], [Fraction(1, 3)] * 2, images=1, window_rows=9, seed=0)


@pytest.mark.parametrize("uri", ["out/data/train", "s3://b/date=2026-01-01/train", "a=b", "s3://b/x:1=y"])
def test_a_uri_alone_is_the_only_set(uri: str) -> None:
    (found,) = training_sets([uri])
    assert (found.name, found.label, found.prefix) == ("", "train", "")
    assert (found.uri, found.share) == (uri, 1)
    assert found.at("elsewhere") == "elsewhere"


def test_sets_are_known_by_their_names_whatever_order_they_come_in() -> None:
    given = ["scene:7=s3://b/x=1", "receipts:2.5=out/r", "svt:.5=svt"]
    found = training_sets(given)
    assert [(s.name, s.uri, s.share) for s in found] == [
        ("receipts", "out/r", Fraction(1, 4)),
        ("scene", "s3://b/x=1", Fraction(7, 10)),
        ("svt", "svt", Fraction(1, 20)),
    ]
    assert training_sets(given[::-1]) == found
    assert found[1].at("/x") == "scene:7=/x"
    assert found[1].prefix == "scene/"
    (alone,) = training_sets(["scene:3=x"])
    assert (alone.name, alone.share) == ("scene", 1)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], "at least one"),
        (["a", "b"], "'a' isn't"),
        (["a:1=x", "b=y"], "'b=y' isn't"),
        (["a:0=x", "b:1=y"], "weights above 0; 'a:0=x'"),
        (["a:-1=x", "b:1=y"], "'a:-1=x' isn't"),
        (["a/b:1=x", "b:1=y"], "'a/b:1=x' isn't"),
        (["a:1=x", "a:2=y"], "'a' is given twice"),
    ],
)
def test_what_asks_for_no_mixture_is_refused_with_an_example(data: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        training_sets(data)
