"""The order of the data: a permutation an epoch, and a position that survives any split over workers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.order import Part, Position, Window, plan_windows

ROWS = st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(lambda rows: sum(rows) > 0)
PACKS = st.dictionaries(st.integers(0, 8), st.integers(1, 6), max_size=9)


def shards(window: Window) -> tuple[int, ...]:
    """Those that a window holds, in reading order; whole, as those of one data set are."""
    assert all((part.source, part.start, part.stop) == (0, 0, None) for part in window.parts)
    return tuple(part.shard for part in window.parts)


@given(ROWS, st.integers(1, 500), st.integers(1, 120), st.integers(0, 5))
def test_each_epoch_holds_every_usable_shard_once(rows: list[int], images: int, size: int, seed: int) -> None:
    windows = plan_windows(rows, images=images, window_rows=size, seed=seed)
    usable = [s for s, count in enumerate(rows) if count]
    assert [w.index for w in windows] == list(range(len(windows)))
    last = windows[-1].epoch
    for epoch in range(last + 1):
        seen = [s for w in windows if w.epoch == epoch for s in shards(w)]
        assert len(seen) == len(set(seen))
        assert set(seen) <= set(usable)
        if epoch < last:
            assert sorted(seen) == usable
    planned = sum(rows[s] for w in windows for s in shards(w))
    assert planned >= images
    assert planned - sum(rows[s] for s in shards(windows[-1])) < images


@given(ROWS, st.integers(1, 300), st.integers(1, 300), st.integers(1, 120))
def test_a_longer_run_begins_as_the_shorter_one(rows: list[int], images: int, more: int, size: int) -> None:
    short = plan_windows(rows, images=images, window_rows=size, seed=1)
    assert plan_windows(rows, images=images + more, window_rows=size, seed=1)[: len(short)] == short


def test_epochs_and_seeds_give_other_orders() -> None:
    def order(seed: int, epoch: int) -> list[tuple[int, ...]]:
        windows = plan_windows([10] * 40, images=800, window_rows=10, seed=seed)
        return [shards(w) for w in windows if w.epoch == epoch]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(0, 3), st.integers(0, 2))
def test_parts_of_a_shard_hold_each_of_its_rows_once(sizes: list[int], epoch: int, source: int) -> None:
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    parts = [
        Part(source=source, shard=4, epoch=epoch, start=end - size, stop=end)
        for size, end in zip(sizes, ends, strict=True)
    ]
    rows = [int(row) for part in parts for row in part.rows(ends[-1], seed=1)]
    assert sorted(rows) == list(range(ends[-1]))
    assert rows == [int(row) for part in parts for row in part.rows(ends[-1], seed=1)]


def test_parts_come_in_an_order_of_their_epoch_and_a_whole_shard_as_it_is() -> None:
    first, second = (list(Part(shard=1, epoch=e, start=0, stop=50).rows(50, seed=1)) for e in (0, 1))
    assert first != second
    assert list(Part(shard=1, epoch=0).rows(50, seed=1)) == list(range(50))


def test_a_part_that_was_planned_with_other_rows_is_an_error() -> None:
    with pytest.raises(ValueError, match="planned with 9 usable rows and has 8"):
        Part(shard=1, epoch=0, start=3, stop=9).rows(8, seed=1)


def test_a_data_set_without_usable_rows_has_no_order() -> None:
    with pytest.raises(ValueError, match="no usable row"):
        plan_windows([0, 0], images=1, window_rows=1, seed=0)


@given(PACKS, st.integers(1, 4), st.data())
def test_merging_the_ranks_positions_loses_and_repeats_nothing(
    packs: dict[int, int], ranks: int, data: st.DataObject
) -> None:
    everything = [(w, p) for w, count in packs.items() for p in range(count)]
    consumed = data.draw(st.sets(st.sampled_from(everything))) if everything else set()
    positions = [Position() for _ in range(ranks)]
    for window, pack in sorted(consumed):
        data.draw(st.sampled_from(positions)).consume(window, pack, packs[window])
    stored = [Position.from_dict(json.loads(json.dumps(p.to_dict()))) for p in positions]
    merged = Position.merge(stored)
    for window, pack in everything:
        assert merged.is_consumed(window, pack) == ((window, pack) in consumed)
    for window, count in packs.items():
        assert merged.is_complete(window) == all((window, p) in consumed for p in range(count))
    assert Position.merge([merged]) == merged


def test_a_pack_that_comes_twice_is_an_error() -> None:
    position = Position(through=2)
    position.consume(2, 0, 3)
    with pytest.raises(ValueError, match="came twice"):
        position.consume(2, 0, 3)
    with pytest.raises(ValueError, match="came twice"):
        position.consume(1, 0, 3)
