"""Packing is a permutation within its budget."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crnn.batching import plan_packs, stack

WIDTHS = st.lists(st.sampled_from([32, 40, 96, 128, 512, 2048]), max_size=200)


@given(WIDTHS, st.integers(1, 4000))
def test_packs_are_a_permutation_of_all_items_each_of_one_width_within_budget(
    widths: list[int], budget: int
) -> None:
    packs = plan_packs(widths, budget)
    assert sorted(i for pack in packs for i in pack) == list(range(len(widths)))
    for pack in packs:
        found = {widths[i] for i in pack}
        assert len(found) == 1
        assert len(pack) == 1 or sum(widths[i] for i in pack) <= budget


@given(WIDTHS)
def test_packs_of_one_width_differ_by_one_item_at_most(widths: list[int]) -> None:
    sizes: dict[int, set[int]] = {}
    for pack in plan_packs(widths, 1000):
        sizes.setdefault(widths[pack[0]], set()).add(len(pack))
    assert all(max(s) - min(s) <= 1 for s in sizes.values())


@given(WIDTHS)
def test_order_within_a_width_is_kept(widths: list[int]) -> None:
    for width in set(widths):
        members = [i for pack in plan_packs(widths, 500) for i in pack if widths[i] == width]
        assert members == sorted(members)


def test_lines_stack_to_one_channel() -> None:
    lines = [np.full((32, 40), i, np.uint8) for i in range(3)]
    assert stack(lines).shape == (3, 1, 32, 40)
    assert stack(lines)[2].mean() == 2
