"""Decoding what strangers upload, in a child process that may crash, hang or run out of memory.

The child lives on from image to image. It takes (length, JSON, length, bytes) on stdin, gives (length, JSON,
length, pixels) on stdout, and is killed by the kernel itself where an image takes too long, whatever native
code it is in. It reads nothing else and its answers are never unpickled.

Images go to it some at a time, for a question and its answer cost as much as decoding a small one. It tells
by a byte which one it begins with, so that its death has a culprit: that one is tried once more in a fresh
child, alone, and a second death is the image's own doing. The others are asked for again.
"""

import fcntl
import json
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import IO, NamedTuple

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


class Encoded(NamedTuple):
    """What is to be decoded."""

    data: bytes
    """The image or page as it is stored."""
    box: Sequence[float] | None = None
    """Corners on the page, as `crnn.cropping.crop` takes them; None for all of it."""


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
        self._progress = -1

    def decode_all(self, images: Sequence[Encoded]) -> list[DecodedLine | ImageRejectedError]:
        """Decodes images; results in their order, a rejection instead of raising it.

        Args:
            images: Best a few dozen: all of them are sent at once. Boxes of one page should stand together
                and hold the same bytes object, which is then sent and decoded once.
        """
        results: list[DecodedLine | ImageRejectedError | None] = [None] * len(images)
        pending = list(range(len(images)))
        while pending:
            for place in [place for place in pending if images[place].data is self._deadly]:
                told = "the decoder died of another box of this page"
                results[place] = ImageRejectedError("killed_decoder", told)
                pending.remove(place)
            try:
                answers = self._ask([images[place] for place in pending])
            except (BrokenPipeError, EOFError):
                culprit = pending.pop(max(0, self._begun() - 1))
                results[culprit] = self._again(images[culprit], self._bury())
                continue
            for place, answer in zip(pending, answers, strict=True):
                results[place] = answer
            break
        return [result for result in results if result is not None]

    def decode(self, data: bytes, box: Sequence[float] | None = None) -> DecodedLine:
        """Decodes one image, or a box of a page.

        Args:
            data: The image or page as it is stored.
            box: Corners, as `crnn.cropping.crop` takes them.

        Raises:
            ImageRejectedError: It can't be decoded, with a reason of `crnn.preprocess.REASONS`; or
                killed_decoder where two child processes died of it.
        """
        (found,) = self.decode_all([Encoded(data, box)])
        if isinstance(found, ImageRejectedError):
            raise found
        return found

    def _again(self, image: Encoded, death: str) -> DecodedLine | ImageRejectedError:
        """Tries an image of which a child has died in another one."""
        try:
            return self._ask([image])[0]
        except (BrokenPipeError, EOFError):
            self._deadly = image.data
            deaths = f"{death}, {self._bury()}"
            return ImageRejectedError("killed_decoder", f"the decoder died of it twice: {deaths}")

    def _begun(self) -> int:
        """How many images the child has begun with since this was asked last."""
        try:
            return len(os.read(self._progress, MIB))
        except BlockingIOError:
            return 0

    @property
    def pid(self) -> int | None:
        """The child's; None where none is alive."""
        return None if self._child is None else self._child.pid

    def close(self) -> None:
        """Ends the child process."""
        if self._child is not None:
            self._child.kill()
            self._bury()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, images: Sequence[Encoded]) -> list[DecodedLine | ImageRejectedError]:
        if self._child is None:
            self._child = self._start()
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None
        assert stdout is not None
        asked, sent = [], []
        for image in images:
            same, self._sent = image.data is self._sent, image.data
            asked.append([None if same else len(image.data), image.box])
            sent += [] if same else [image.data]
        _send(stdin, json.dumps(asked).encode())
        _send(stdin, *sent)
        answers, pixels = json.loads(_receive(stdout)), memoryview(_receive(stdout))
        found: list[DecodedLine | ImageRejectedError] = []
        for answer in answers:
            if "reason" in answer:
                found.append(ImageRejectedError(answer["reason"], answer["detail"]))
                continue
            own, pixels = bytes(pixels[: answer["bytes"]]), pixels[answer["bytes"] :]
            found.append(DecodedLine(width=answer["width"], height=answer["height"], pixels=own))
        self._begun()
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        self._progress, progress = os.pipe()
        os.set_blocking(self._progress, False)
        try:
            child = subprocess.Popen(
                [sys.executable, "-m", "pipeline.sandbox", self._order, str(progress)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(progress,),
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        finally:
            os.close(progress)
        for pipe in (child.stdin, child.stdout):
            # A larger message costs a change of processes for each pipe's fill; what a user may have of such
            # memory is limited, and less does.
            with suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, MIB)  # type: ignore[arg-type]
        return child

    def _bury(self) -> str:
        """Waits for a child that is dying; how it died."""
        child, self._child, self._sent = self._child, None, None
        assert child is not None
        code = child.wait()
        os.close(self._progress)
        for pipe in (child.stdin, child.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except BrokenPipeError:  # what was buffered for it is lost with it
                pass
        if code == -signal.SIGALRM:
            return "time limit"
        return signal.Signals(-code).name if code < 0 else f"exit {code}"


def serve(order: str, progress: int) -> None:
    """The child's life: decodes what comes until stdin ends; a byte to progress before each image."""
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
            asked, sent = json.loads(_receive(stdin)), memoryview(_receive(stdin))
        except EOFError:
            return
        answers, lines = [], []
        for length, box in asked:
            if length is not None:
                data, sent = bytes(sent[:length]), sent[length:]
            os.write(progress, b".")
            signal.setitimer(signal.ITIMER_REAL, config.seconds)
            answer, pixels = _line(pages, data, box, preprocess)
            signal.setitimer(signal.ITIMER_REAL, 0)
            answers.append(answer)
            lines.append(pixels)
        _send(stdout, json.dumps(answers).encode())
        _send(stdout, *lines)


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
        pixels = line_views(grey, preprocess).tobytes()
        return {"width": width, "height": height, "bytes": len(pixels)}, pixels
    except ImageRejectedError as error:
        return {"reason": error.reason, "detail": error.detail}, b""


def _send(pipe: IO[bytes], *parts: bytes) -> None:
    pipe.write(_LENGTH.pack(sum(map(len, parts))) + b"".join(parts))
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    return _exactly(pipe, _LENGTH.unpack(_exactly(pipe, _LENGTH.size))[0])


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) != length:
        raise EOFError
    return data


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
