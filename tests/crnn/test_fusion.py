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

ABC = Charset(characters="abc")
MODEL = CharacterModel(["abc"] * 5 + ["ab", "cab"], ABC, order=3)


def posteriors(seed: int, count: int = 4, frames: int = 4, peak: float = 2.0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return (peak * torch.randn(count, frames, ABC.num_classes, generator=random)).log_softmax(-1)


def ranks(item: Tensor, config: FusionConfig) -> dict[str, float]:
    """Every text that the frames can hold, by all its alignments."""
    found = {}
    for length in range(len(item) + 1):
        for letters in product(ABC.characters, repeat=length):
            text = "".join(letters)
            target = torch.tensor(ABC.encode(text), dtype=torch.int32)
            seen = float(log_prob(item[None], target, torch.tensor([length]))[0])
            if seen > -math.inf:
                found[text] = seen + config.weight * MODEL.log_prob(text) + config.length_bonus * length
    return found


@pytest.mark.parametrize("seed", range(6))
def test_with_a_beam_that_holds_everything_it_is_the_best_of_all_texts(seed: int) -> None:
    config = FusionConfig(weight=0.7, length_bonus=0.3, beam_width=10_000)
    for item in posteriors(seed):
        expected = ranks(item, config)
        (found,) = Fusion(model=MODEL, config=config).search([item], ABC, n_best=3)
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
    fusion = Fusion(model=MODEL, config=FusionConfig(weight=0.0, length_bonus=0.0, beam_width=5))
    for item in posteriors(3):
        (plain,) = prefix_beam_search([item], ABC, beam_width=5)
        (found,) = fusion.search([item], ABC)
        assert found.text == plain.text
        assert found.confidence == pytest.approx(plain.confidence)


def test_frames_that_only_wait_change_nothing() -> None:
    wait = torch.full((3, ABC.num_classes), -14.0)
    wait[:, 0] = 0.0
    wait = wait.log_softmax(-1)
    fusion = Fusion(model=MODEL)
    for item in posteriors(5, count=8, frames=5):
        bare = torch.cat([wait[:1], item[:3], wait[:1], item[3:], wait[:1]])
        long = torch.cat([wait, item[:3], wait, item[3:], wait])
        few, many = fusion.search([bare, long], ABC)
        assert (few.text, few.confidence) == (many.text, pytest.approx(many.confidence))


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
