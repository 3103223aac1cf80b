"""Reading with a language model: where it is asked, what it changes, and that the sure stands."""

import math
import pickle
from itertools import product

import pytest
import torch
from torch import Tensor

from crnn.beam import prefix_beam_search
from crnn.charset import Charset
from crnn.ctc import log_prob
from crnn.decode import best_path
from crnn.errors import ModelConfigError
from crnn.fusion import Fusion, FusionConfig
from crnn.language_model import CharacterModel
from crnn.vocabulary import Vocabulary

ABC = Charset(characters="abc")
MODEL = CharacterModel(["abc"] * 5 + ["ab", "cab"], ABC, order=3)
WORDS = Vocabulary({"bca": 5.0, "ab": 2.0, "c": 1.0}, ABC)


def posteriors(seed: int, count: int = 4, frames: int = 4, peak: float = 2.0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return (peak * torch.randn(count, frames, ABC.num_classes, generator=random)).log_softmax(-1)


def ranks(looks: list[Tensor], config: FusionConfig) -> dict[str, float]:
    """Every text that the frames of all looks can hold, by all its alignments, one text after the other."""
    found = {}
    for length in range(min(map(len, looks)) + 1):
        for letters in product(ABC.characters, repeat=length):
            text = "".join(letters)
            target = torch.tensor(ABC.encode(text), dtype=torch.int32)
            seen = [float(log_prob(look[None], target, torch.tensor([length]))[0]) for look in looks]
            likely = math.exp(MODEL.log_prob(text)) * (1 - config.known)
            likely += math.exp(WORDS.log_probs([text])[0]) * config.known
            if min(seen) > -math.inf:
                mean = sum(seen) / len(seen)
                found[text] = mean + config.weight * math.log(likely) + config.length_bonus * length
    return found


@pytest.mark.parametrize("known", [0.0, 0.6])
@pytest.mark.parametrize("frames", [[4], [4, 3], [3, 4, 4]], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_with_a_beam_that_holds_everything_it_is_the_best_of_all_texts(
    seed: int, frames: list[int], known: float
) -> None:
    config = FusionConfig(weight=0.7, length_bonus=0.3, beam_width=10_000, known=known)
    images = [[posteriors(10 * seed + n, count=1, frames=t)[0] for t in frames] for n in (0, 3, 6)]
    fusion = Fusion(model=MODEL, vocabulary=WORDS if known else None, config=config)
    several = fusion.search_looks(images, ABC, n_best=3)
    assert several == [fusion.search_looks([looks], ABC, n_best=3)[0] for looks in images]
    for looks, found in zip(images, several, strict=True):
        expected = ranks(looks, config)
        best = sorted(expected, key=lambda text: -expected[text])[:3]
        assert [found.text, *(other.text for other in found.alternatives)] == best
        total = math.log(sum(math.exp(rank) for rank in expected.values()))
        for each in (found, *found.alternatives):
            assert each.log_prob == pytest.approx(expected[each.text] - total, abs=1e-4)
            assert each.confidence == pytest.approx(math.exp(each.log_prob))


def test_what_the_network_is_sure_of_stands_and_costs_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    items = torch.cat([posteriors(0, peak=30.0), posteriors(0, peak=0.5)])
    paths = best_path(items, ABC)
    sure = [path.confidence >= 0.9 for path in paths]
    assert any(sure)
    assert not all(sure)
    fusion = Fusion(model=MODEL)
    decided = fusion.decide(paths, items, ABC)
    for path, each, item, is_sure in zip(paths, decided, items, sure, strict=True):
        assert each is path if is_sure else [each] == fusion.search([item], ABC)
    monkeypatch.setattr("crnn.fusion.prefix_beam_search", None)
    assert Fusion(model=MODEL, config=FusionConfig(sure=0.0)).decide(paths, items, ABC) == paths


def test_without_weight_and_bonus_it_is_plain_beam_search() -> None:
    fusion = Fusion(model=MODEL, config=FusionConfig(weight=0.0, length_bonus=0.0, beam_width=400))
    for item in posteriors(3):
        (plain,) = prefix_beam_search([item], ABC, beam_width=400)
        (found,) = fusion.search([item], ABC)
        assert found.text == plain.text
        assert found.confidence == pytest.approx(plain.confidence)


def test_a_vocabulary_decides_between_words_that_an_n_gram_finds_alike() -> None:
    words = ("acb", "bcb", "aca")
    model = CharacterModel(words, ABC)
    item = (torch.eye(ABC.num_classes)[[1, 3, 2]] * 1.5).log_softmax(-1)  # "acb", not surely
    for word in words:
        vocabulary = Vocabulary(dict.fromkeys(words, 1.0) | {word: 1000.0}, ABC)
        config = FusionConfig(weight=1.0, length_bonus=2.0, known=0.9)
        (found,) = Fusion(model=model, vocabulary=vocabulary, config=config).search([item], ABC)
        assert found.text == word


def test_a_vocabulary_and_its_share_come_together_and_of_one_charset() -> None:
    for vocabulary, known in ((WORDS, 0.0), (None, 0.5)):
        with pytest.raises(ModelConfigError, match="A vocabulary needs its share"):
            Fusion(model=MODEL, vocabulary=vocabulary, config=FusionConfig(known=known))
    other = Vocabulary({"ab": 1.0}, Charset(characters="ab"))
    with pytest.raises(ModelConfigError, match="another charset"):
        Fusion(model=MODEL, vocabulary=other, config=FusionConfig(known=0.5))


def test_characters_that_would_be_joined_are_read_as_they_stand() -> None:
    marks = Charset(characters="न\u093cक")  # the first two would be ऩ, which has no class
    item = torch.full((3, marks.num_classes), -9.0)
    item[0, 1] = item[1, 2] = item[2, 0] = 0.0
    model = CharacterModel(["क"], marks)
    vocabulary = Vocabulary({"क": 1.0}, marks)
    fusion = Fusion(model=model, vocabulary=vocabulary, config=FusionConfig(known=0.5))
    (found,) = fusion.search([item.log_softmax(-1)], marks, n_best=9)
    assert found.text == "न\u093c"
    texts = [found.text, *(other.text for other in found.alternatives)]
    assert len(set(texts)) == len(texts)


def test_without_frames_there_is_no_text() -> None:
    for found in Fusion(model=MODEL).search_looks([[torch.zeros(0, 4)], [torch.zeros(0, 4)] * 2], ABC):
        assert (found.text, found.confidence) == ("", 1.0)


def test_a_text_s_rank_does_not_depend_on_what_else_is_searched() -> None:
    random = torch.Generator().manual_seed(3)
    items = [3 * torch.randn(9, ABC.num_classes, generator=random) for _ in range(12)]
    for n, item in enumerate(items):
        item[n // 3 :, 0] += 9.0  # some hold a word, some hardly a letter
    logits = [item.log_softmax(-1) for item in items]
    fusion = Fusion(model=MODEL, config=FusionConfig(sure=0.0))
    assert fusion.search(logits, ABC) == [fusion.search([item], ABC)[0] for item in logits]


def test_what_is_nowhere_possible_is_no_text_without_confidence() -> None:
    nothing = torch.full((3, ABC.num_classes), math.nan)
    (found,) = Fusion(model=MODEL).search([nothing], ABC)
    assert (found.text, found.confidence) == ("", 0.0)
    assert Fusion(model=MODEL).search([], ABC) == []


def test_frames_that_only_wait_change_nothing() -> None:
    wait = torch.full((3, ABC.num_classes), -14.0)
    wait[:, 0] = 0.0
    wait = wait.log_softmax(-1)
    fusion = Fusion(model=MODEL)
    for item in posteriors(5, count=8, frames=5):
        bare = torch.cat([wait[:1], item[:3], wait[:1], item[3:], wait[:1]])
        long = torch.cat([wait, item[:3], wait, item[3:], wait])
        few, many = fusion.search([bare, long], ABC)
        assert (few.text, few.confidence) == (many.text, pytest.approx(many.confidence, rel=1e-4))


@pytest.mark.parametrize(
    "change",
    [
        {"weight": -0.1},
        {"weight": math.nan},
        {"weight": math.inf},
        {"length_bonus": math.nan},
        {"beam_width": 0},
        {"beam_width": 8.5},
        {"beam_width": 10**9},
        {"sure": 1.1},
        {"sure": -0.1},
        {"looks_below": 1.1},
        {"known": 1.0},
    ],
)
def test_settings_that_can_not_work_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ModelConfigError, match="weight is 0 or more"):
        FusionConfig(**change)  # type: ignore[arg-type]


def test_a_full_memory_of_the_model_s_answers_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Fusion(model=MODEL).search(posteriors(7), ABC)
    monkeypatch.setattr("crnn.scores._MANY", 2)
    fusion = Fusion(model=MODEL)
    for _ in range(3):
        assert fusion.search(posteriors(7), ABC) == expected
        assert len(fusion._scores._contexts) < 40
    assert pickle.loads(pickle.dumps(fusion)).search(posteriors(7), ABC) == expected


def test_a_description_without_a_vocabulary_doesn_t_tell_its_share() -> None:
    assert "known" not in FusionConfig().to_dict()
    config = FusionConfig(known=0.7, beam_width=3)
    assert FusionConfig(**config.to_dict()) == config
