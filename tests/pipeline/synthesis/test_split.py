from hypothesis import given
from hypothesis import strategies as st

from pipeline.synthesis.split import VALIDATION_SHARE, rank_of, split_of

scripts = st.text(st.characters(min_codepoint=33, max_codepoint=0x3FF)) | st.text(
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)
)


@given(scripts)
def test_a_word_is_in_one_split_whatever_its_case(word: str) -> None:
    for other in (word.upper(), word.lower(), word.capitalize(), word.swapcase()):
        assert split_of(other) == split_of(word)


def test_about_three_of_a_hundred_keys_are_for_validation() -> None:
    held = sum(split_of(f"key {i}") == "validation" for i in range(20_000)) / 20_000
    assert abs(held - VALIDATION_SHARE) < 4 * (VALIDATION_SHARE / 20_000) ** 0.5


def test_the_split_is_the_same_for_ever() -> None:
    ranks = [round(rank_of(key), 6) for key in ("Exit", "straße", "한글")]
    assert ranks == [0.651385, 0.166846, 0.145502]
