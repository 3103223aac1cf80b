"""Real child processes that crash, hang and swell: the parent goes on."""

import io
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crnn.errors import ImageRejectedError
from crnn.preprocess import REASONS, GreyImage, PreprocessConfig, decode_image, line_image
from pipeline.sandbox import Encoded, Sandbox, SandboxConfig

GEOMETRY = PreprocessConfig()
HOSTILE = "hostile_decoder:decode"
DECODER = """
import ctypes, os, time
import numpy as np
import crnn.preprocess

def decode(data):
    if data == b"segfault": ctypes.string_at(0)
    if data == b"exit": os._exit(3)
    if data == b"sleep": time.sleep(60)
    if data == b"spin in native code": sum(range(10 ** 10))
    if data == b"swell": bytearray(8 << 30)
    if data == b"raise": raise RuntimeError("not a rejection")
    if data.startswith(b"once "):
        flag = data[5:].decode()
        if not os.path.exists(flag):
            open(flag, "w").close()
            os._exit(1)
    return np.full((20, 30), len(data), np.uint8)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(GEOMETRY, SandboxConfig()) as sandbox:
        yield sandbox


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    (tmp_path / "hostile_decoder.py").write_text(DECODER)
    monkeypatch.syspath_prepend(str(tmp_path))
    as_they_are = replace(GEOMETRY, contrast=0)  # so that pixels tell which bytes they are of
    with Sandbox(as_they_are, SandboxConfig(seconds=1), decoder=HOSTILE) as sandbox:
        yield sandbox


def encoded(grey: GreyImage, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, kind)
    return buffer.getvalue()


def outcome(sandbox: Sandbox, data: bytes) -> str:
    try:
        sandbox.decode(data)
    except ImageRejectedError as error:
        return error.reason if error.detail else "no detail"
    return "a line"


def test_images_that_kill_are_told_from_those_that_were_sent_with_them(
    hostile: Sandbox, tmp_path: Path
) -> None:
    once = f"once {tmp_path}/flag".encode()
    sent = [b"fine", b"exit", b"good", once, b"segfault", b"fine", b"sleep", b"end"]
    found = hostile.decode_all([Encoded(data) for data in sent])
    told = [each.detail if isinstance(each, ImageRejectedError) else each.pixels[0] for each in found]
    died = "the decoder died of it twice: "
    kills = [f"{died}{how}" for how in ("exit 3, exit 3", "SIGSEGV, SIGSEGV", "time limit, time limit")]
    assert told == [4, kills[0], 4, len(once), kills[1], 4, kills[2], 3]
    assert hostile.decode_all([]) == []


def test_many_sent_together_are_read_as_each_alone(sandbox: Sandbox) -> None:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (20 + n, 30 + 9 * n), np.uint8) for n in range(100)]
    sent = [Encoded(encoded(image, "PNG")) for image in images]
    sent[7] = sent[50] = Encoded(b"no picture")
    sent[51] = Encoded(sent[50].data, (1.0, 1.0, 9.0, 1.0, 9.0, 9.0, 1.0, 9.0))
    found = sandbox.decode_all(sent)
    for place, (image, line) in enumerate(zip(images, found, strict=True)):
        if place in (7, 50, 51):
            assert isinstance(line, ImageRejectedError)
            assert line.reason == "not_an_image"
        else:
            assert not isinstance(line, ImageRejectedError)
            assert line.pixels == line_image(image, GEOMETRY).tobytes()


def test_boxes_of_a_page_that_kills_are_not_tried_again_and_the_next_page_is(hostile: Sandbox) -> None:
    box, page = (2.0, 2.0, 22.0, 2.0, 22.0, 12.0, 2.0, 12.0), b"segfault"
    for told in ("SIGSEGV, SIGSEGV", "another box of this page"):
        with pytest.raises(ImageRejectedError, match=told):
            hostile.decode(page, box)
    fine = b"fine"
    for _ in range(2):
        line = hostile.decode(fine, box)
        assert (line.width, line.height, set(line.pixels[:32])) == (20, 10, {4})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"segfault", "SIGSEGV, SIGSEGV"),
        (b"exit", "exit 3, exit 3"),
        (b"sleep", "time limit, time limit"),
        (b"spin in native code", "time limit, time limit"),
        (b"swell", "exit 1, exit 1"),
        (b"raise", "exit 1, exit 1"),
    ],
)
def test_what_kills_the_decoder_twice_is_rejected_and_the_next_is_decoded(
    hostile: Sandbox, data: bytes, told: str
) -> None:
    with pytest.raises(ImageRejectedError, match=f"killed_decoder: .* twice: {told}"):
        hostile.decode(data)
    line = hostile.decode(b"good")
    assert (line.width, line.height) == (30, 20)


def test_what_kills_the_decoder_once_gets_its_row(hostile: Sandbox, tmp_path: Path) -> None:
    data = f"once {tmp_path / 'flag'}".encode()
    expected = line_image(np.full((20, 30), len(data), np.uint8), replace(GEOMETRY, contrast=0))
    assert hostile.decode(data).pixels == expected.tobytes()


def test_a_child_killed_from_outside_costs_nothing(sandbox: Sandbox) -> None:
    good = encoded(np.full((20, 30), 7, np.uint8), "PNG")
    before = sandbox.decode(good)
    assert sandbox._child is not None
    os.kill(sandbox._child.pid, signal.SIGKILL)
    assert sandbox.decode(good) == before


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        sandbox = Sandbox(GEOMETRY, SandboxConfig())
        sandbox.decode(encoded(np.full((20, 30), 7, np.uint8), "PNG"))
        assert sandbox._child is not None
        os.write(writing, str(sandbox._child.pid).encode())
        os._exit(0)
    os.waitpid(parent, 0)
    child = int(os.read(reading, 20))
    end = time.monotonic() + 20
    while Path(f"/proc/{child}/stat").exists() and time.monotonic() < end:
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_lines_are_those_that_the_recogniser_prepares_itself(sandbox: Sandbox, kind: str) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (37, 91), np.uint8)
    data = encoded(grey, kind)
    line = sandbox.decode(data)
    assert line.pixels == line_image(decode_image(data), GEOMETRY).tobytes()
    assert (line.width, line.height) == (91, 37)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=8),
)
def test_broken_images_are_lines_or_rejections_with_a_known_reason(
    sandbox: Sandbox, kind: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    data = bytearray(encoded(np.random.default_rng(1).integers(0, 256, (16, 40), np.uint8), kind))
    for place, mask in flips:
        data[int(place * (len(data) - 1))] ^= mask
    assert outcome(sandbox, bytes(data[: 1 + int(cut * len(data))])) in ("a line", *REASONS)


def test_a_picture_cut_at_any_byte_never_ends_the_decoder(sandbox: Sandbox) -> None:
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        data = encoded(np.random.default_rng(2).integers(0, 256, (6, 9), np.uint8), kind)
        sandbox.decode(data)
        assert sandbox._child is not None
        pid = sandbox._child.pid
        for length in range(len(data)):
            assert outcome(sandbox, data[:length]) in ("a line", *REASONS)
        assert sandbox._child.pid == pid
