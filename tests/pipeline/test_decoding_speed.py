import torch

from crnn.charset import ALNUM36
from crnn.lexicon import Lexicon
from pipeline.decoding_speed import decoding_speeds


def test_every_way_of_decoding_is_measured_and_the_threads_are_put_back() -> None:
    packs = [torch.randn(3, 9, ALNUM36.num_classes).mul(5).log_softmax(-1) for _ in range(2)]
    lexicon = Lexicon(["word", "other"], ALNUM36)
    threads = torch.get_num_threads()
    speeds = decoding_speeds(packs, ALNUM36, own_lexicons=[[lexicon] * 3] * 2, large_lexicon=lexicon)
    assert torch.get_num_threads() == threads
    assert set(speeds) == {
        "best_path",
        "best_path_with_spans",
        "own_lexicon",
        "large_lexicon_as_in_the_paper",
        "large_lexicon_exact",
        "beam_4",
        "beam_16",
    }
    assert all(speed > 0 for speed in speeds.values())
