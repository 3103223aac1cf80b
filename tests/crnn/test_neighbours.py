import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.forward import TextTable
from crnn.metrics import edit_distance
from crnn.neighbours import EditNeighbours

texts = st.lists(st.integers(1, 4), max_size=7).map(tuple)


def brute_force(table: list[tuple[int, ...]], text: tuple[int, ...], distance: int) -> list[int]:
    def as_string(codes: tuple[int, ...]) -> str:
        return "".join(map(chr, codes))

    return [
        i for i, other in enumerate(table) if edit_distance(as_string(text), as_string(other)) <= distance
    ]


@settings(deadline=None, max_examples=200)
@given(st.lists(texts, min_size=1, max_size=40), texts, st.integers(0, 3))
def test_neighbours_are_those_of_brute_force(
    table: list[tuple[int, ...]], text: tuple[int, ...], distance: int
) -> None:
    found = EditNeighbours(TextTable.of(table)).within(text, distance)
    assert found.tolist() == brute_force(table, text, distance)


@settings(deadline=None, max_examples=200)
@given(st.lists(texts, min_size=1, max_size=40), st.one_of(texts, st.lists(st.integers(1, 9)).map(tuple)))
def test_the_nearest_are_those_of_brute_force(table: list[tuple[int, ...]], text: tuple[int, ...]) -> None:
    least = next(distance for distance in range(1000) if brute_force(table, text, distance))
    assert EditNeighbours(TextTable.of(table)).nearest(text).tolist() == brute_force(table, text, least)


def test_two_thousand_random_cases_equal_brute_force_at_every_distance() -> None:
    generator = np.random.default_rng(0)
    for case in range(20):
        symbols = int(generator.integers(2, 90))
        table = [tuple(generator.integers(1, symbols + 1, n).tolist()) for n in generator.integers(0, 14, 60)]
        index = EditNeighbours(TextTable.of(table))
        for query in range(25):
            text = list(table[generator.integers(len(table))])
            for _ in range(generator.integers(0, 4)):  # a few edits away from an entry
                at = int(generator.integers(0, len(text) + 1))
                text[at : at + int(generator.integers(0, 2))] = generator.integers(1, symbols + 1, 1).tolist()
            for distance in range(4):
                expected = brute_force(table, tuple(text), distance)
                assert index.within(tuple(text), distance).tolist() == expected, (case, query)


def test_texts_longer_than_a_machine_word_are_neighbours_too() -> None:
    long = tuple([1, 2, 3] * 30)
    table = [long, long[:-2], long[3:], (1,), (*long, 4), tuple([3] * 90)]
    index = EditNeighbours(TextTable.of(table))
    for distance in range(5):
        assert index.within(long, distance).tolist() == brute_force(table, long, distance)
    assert index.nearest((*long, 5, 5)).tolist() == brute_force(table, (*long, 5, 5), 2) == [0, 4]


def test_an_empty_text_has_the_short_entries_as_neighbours() -> None:
    index = EditNeighbours(TextTable.of([(), (1,), (1, 2), (1, 2, 3, 4)]))
    assert index.within((), 2).tolist() == [0, 1, 2]
