"""Every way of decoding is measured, on words and lexicons that are what they are called."""

import pytest
import torch

from crnn.charset import ALNUM36
from crnn.metrics import edit_distance
from pipeline.benchmark.decoding import LARGE, common_words, decoding, own_lexicons, strange_texts
from pipeline.benchmark.measure import Setting
from pipeline.benchmark.posteriors import peaked_posteriors
from pipeline.lexicons import PAPERS_DISTANCE


def test_there_are_as_many_common_words_as_the_papers_lexicon_has() -> None:
    words = common_words(LARGE)
    assert len(set(words)) == LARGE
    assert not any(ALNUM36.unsupported(word) for word in words)
    assert "the" in words[:10]


def test_each_image_has_a_small_lexicon_that_holds_its_word() -> None:
    words = common_words(300)
    packs = peaked_posteriors(words[:40], ALNUM36, seed=0)
    for pack, lexicons in zip(packs, own_lexicons(packs, words, size=20), strict=True):
        for word, lexicon in zip(pack.words, lexicons, strict=True):
            assert lexicon.entries[0] == word
            assert 15 <= len(lexicon) <= 20


def test_no_word_is_near_the_strange_texts() -> None:
    words = common_words(1000)
    assert min(edit_distance(text, word) for text in strange_texts(8) for word in words) > PAPERS_DISTANCE


def test_every_way_of_decoding_is_measured_against_the_best_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LARGE": 3000, "_WORDS": 40}.items():
        monkeypatch.setattr(f"pipeline.benchmark.decoding.{name}", value)
    threads = torch.get_num_threads()
    rows = list(decoding(Setting(rounds=1, seconds=1e-3)))
    assert torch.get_num_threads() == threads
    assert [row.name for row in rows] == [
        "best path",
        "best path with spans",
        "50-word lexicons",
        "3,000-word lexicon as in the paper",
        "3,000-word lexicon exact",
        "3,000-word lexicon as in the paper, no entry near",
        "language model where unsure",
        "beam 4",
        "beam 16",
        "beam 16 with n-gram",
    ]
    assert all(row.value > 0 for row in rows)
    assert {row.ceiling for row in rows[1:]} == {rows[0].value}
