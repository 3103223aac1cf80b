"""The precision is what was asked for; auto is what the hardware computes in."""

import pytest
import torch

from crnn.precision import use_bf16

CPU = torch.device("cpu")


def test_what_was_asked_for_is_taken() -> None:
    assert use_bf16("bf16", CPU)
    assert not use_bf16("fp32", CPU)


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_auto_takes_bf16_on_cpus_that_have_instructions_for_it(
    avx512: bool, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert use_bf16("auto", CPU) == (avx512 or amx)
