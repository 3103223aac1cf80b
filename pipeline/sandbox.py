"""Decoding what strangers upload, in a child process that may crash, hang or run out of memory.

The child lives on from image to image. It takes (length, JSON, length, bytes) on stdin, gives (length, JSON,
length, pixels) on stdout, and is killed by the kernel itself where an image takes too long, whatever native
code it is in. It reads nothing else and its answers are never unpickled. An image that kills it is tried once
more in a fresh child: a second death is the image's own doing.
"""

import json
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import IO

import numpy as np

from crnn.cropping import crop
from crnn.errors import ImageRejectedError
from crnn.preprocess import GreyImage, PreprocessConfig, line_views

MIB = 1 << 20
_LENGTH = struct.Struct("<q")


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxConfig:
    """What one image may cost."""

    seconds: float = 5.0
    """Wall clock seconds to decode an image in; it is tried twice."""
    memory_mib: int = 1_024
    """Address space of the decoding process, its libraries included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedLine:
    """An image as the network reads it."""

    width: int
    """Of the upright original, in pixels."""
    height: int
    """Of the upright original, in pixels."""
    pixels: bytes
    """Of `crnn.preprocess.line_views`, row by row."""


class Sandbox:
    """A decoding child process, started when it is first needed.

    Args:
        preprocess: The recogniser's.
        config: Its limits.
        decoder: module:function that takes bytes and gives a grey image, as `crnn.preprocess.decode_image`.
    """

    def __init__(
        self,
        preprocess: PreprocessConfig,
        config: SandboxConfig,
        *,
        decoder: str = "crnn.preprocess:decode_image",
    ) -> None:
        self._order = json.dumps([decoder, asdict(preprocess), asdict(config)])
        self._child: subprocess.Popen[bytes] | None = None
        self._sent: bytes | None = None
        self._deadly: bytes | None = None

    def decode(self, data: bytes, box: Sequence[float] | None = None) -> DecodedLine:
        """Decodes one image, or a box of a page, which is kept for the boxes of the same bytes that follow.

        Args:
            data: The image or page as it is stored.
            box: Corners, as `crnn.cropping.crop` takes them.

        Raises:
            ImageRejectedError: It can't be decoded, with a reason of `crnn.preprocess.REASONS`; or
                killed_decoder where two child processes died of it.
        """
        if data is self._deadly:
            raise ImageRejectedError("killed_decoder", "the decoder died of another box of this page")
        deaths = []
        for _ in range(2):
            try:
                return self._ask(data, box)
            except (BrokenPipeError, EOFError):
                deaths.append(self._bury())
        self._deadly = data
        raise ImageRejectedError("killed_decoder", f"the decoder died of it twice: {', '.join(deaths)}")

    def close(self) -> None:
        """Ends the child process."""
        if self._child is not None:
            self._child.kill()
            self._bury()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, data: bytes, box: Sequence[float] | None) -> DecodedLine:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "pipeline.sandbox", self._order],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None
        assert stdout is not None
        same, self._sent = data is self._sent, data
        _send(stdin, json.dumps({"box": box, "same": same}).encode())
        _send(stdin, b"" if same else data)
        answer, pixels = json.loads(_receive(stdout)), _receive(stdout)
        if "reason" in answer:
            raise ImageRejectedError(answer["reason"], answer["detail"])
        return DecodedLine(width=answer["width"], height=answer["height"], pixels=pixels)

    def _bury(self) -> str:
        """Waits for a child that is dying; how it died."""
        child, self._child, self._sent = self._child, None, None
        assert child is not None
        code = child.wait()
        for pipe in (child.stdin, child.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except BrokenPipeError:  # what was buffered for it is lost with it
                pass
        if code == -signal.SIGALRM:
            return "time limit"
        return signal.Signals(-code).name if code < 0 else f"exit {code}"


def serve(order: str) -> None:
    """The child's life: decodes what comes until stdin ends."""
    decoder, geometry, limits = json.loads(order)
    preprocess, config = PreprocessConfig(**geometry), SandboxConfig(**limits)
    module, _, name = decoder.partition(":")
    decode = getattr(import_module(module), name)
    size = config.memory_mib * MIB
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process without asking Python
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    data, pages = b"", Pages(decode)
    while True:
        try:
            asked, sent = json.loads(_receive(stdin)), _receive(stdin)
        except EOFError:
            return
        data = data if asked["same"] else sent
        signal.setitimer(signal.ITIMER_REAL, config.seconds)
        answer, pixels = _line(pages, data, asked["box"], preprocess)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(stdout, json.dumps(answer).encode())
        _send(stdout, pixels)


class Pages:
    """Keeps the page that was decoded last, whose boxes come one after the other."""

    def __init__(self, decode: Callable[[bytes], GreyImage]) -> None:
        self._decode = decode
        self._data: bytes | None = None
        self._page: GreyImage | None = None

    def image(self, data: bytes, box: Sequence[float] | None) -> GreyImage:
        """The image, or the inside of a box of it."""
        if box is None:
            return self._decode(data)
        if self._page is None or self._data is not data:
            self._page, self._data = self._decode(data), data
        return crop(self._page, box)


def _line(
    pages: Pages, data: bytes, box: Sequence[float] | None, preprocess: PreprocessConfig
) -> tuple[dict[str, object], bytes]:
    try:
        grey = pages.image(data, box)
        height, width = grey.shape
        return {"width": width, "height": height}, np.ascontiguousarray(
            line_views(grey, preprocess)
        ).tobytes()
    except ImageRejectedError as error:
        return {"reason": error.reason, "detail": error.detail}, b""


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    return _exactly(pipe, _LENGTH.unpack(_exactly(pipe, _LENGTH.size))[0])


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) != length:
        raise EOFError
    return data


if __name__ == "__main__":
    serve(sys.argv[1])
