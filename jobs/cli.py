"""The jobs' edge to a person: a command line over named recipes, short tables, one live line of progress.

python jobs/train.py RECIPE --flag value
"""

import difflib
import inspect
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TextIO, TypeVar

import tyro

from pipeline.credentials import refuse_passwords

Config = TypeVar("Config")


def parse_recipe(recipes: Mapping[str, Callable[[], Config]], argv: Sequence[str] | None, job: str) -> Config:
    """The config of the recipe that the command line names, with the values its flags override.

    Args:
        recipes: Functions by name; the first line of a function's docstring tells the reader what it is for.
        argv: Arguments without the program's name; None takes the process's own.
        job: Path of the job's file, such as jobs/train.py, for the help.

    Raises:
        SystemExit: 2 with a suggestion where a recipe, flag or value isn't one; 0 after --help.
        ConfigError: A flag holds a password.
    """
    arguments = _arguments(argv)
    listed = "\n".join(f"  {name:<12} {_first_line(recipe)}" for name, recipe in recipes.items())
    usage = (
        f"usage: python {job} RECIPE [--flag value ...]\n\nrecipes:\n{listed}\n\n"
        f"python {job} RECIPE --help shows the flags that override a recipe's values."
    )
    if arguments and arguments[0] in ("-h", "--help"):
        print(usage)
        raise SystemExit(0)
    if not arguments or arguments[0] not in recipes:
        close = difflib.get_close_matches(arguments[0], recipes, n=1) if arguments else []
        wrong = (
            f"There is no recipe {arguments[0]!r}." if arguments else "The name of a recipe must come first."
        )
        print(f"error: {wrong}{f' Did you mean {close[0]}?' if close else ''}\n{usage}", file=sys.stderr)
        raise SystemExit(2)
    recipe = recipes[arguments[0]]
    default = recipe()
    return tyro.cli(
        type(default),
        default=default,
        args=arguments[1:],
        prog=f"python {job} {arguments[0]}",
        description=inspect.getdoc(recipe),
    )


def parse_flags(config: type[Config], argv: Sequence[str] | None, job: str) -> Config:
    """The config of a job without recipes. Arguments and errors as in `parse_recipe`."""
    return tyro.cli(config, args=_arguments(argv), prog=f"python {job}")


def _arguments(argv: Sequence[str] | None) -> list[str]:
    arguments = list(sys.argv[1:] if argv is None else argv)
    refuse_passwords(arguments, "The command line")
    return arguments


def _first_line(function: Callable[[], object]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A plain text table: numbers to the right, everything else to the left."""
    values = [list(row) for row in rows]
    cells = [list(headers), *([cell(value) for value in row] for row in values)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(headers))]
    right = [
        bool(values) and all(isinstance(row[i], int | float | None) for row in values)
        for i in range(len(headers))
    ]
    lines = [
        "  ".join(
            text.rjust(w) if r else text.ljust(w) for text, w, r in zip(line, widths, right, strict=True)
        )
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def cell(value: object) -> str:
    """A value as people read it: 12,345, 0.8731, 1,204.5; a dash for None."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


class Progress:
    """Where a job stands: one line that renews itself on a terminal, a plain line now and then elsewhere.

    Args:
        total: Items to do in all; None where unknown.
        unit: What the items are, in the plural.
        start: Items that were done before this process began; they don't count for its rate.
        stream: Where to write; None is stderr.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        total: int | None,
        unit: str,
        *,
        start: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._unit, self._clock = total, unit, clock
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._every = 0.2 if self._live else 30.0
        self._recent: deque[tuple[float, int]] = deque([(clock(), start)], maxlen=64)
        self._shown = float("-inf")
        self._line = ""

    def update(self, done: int, *, at_most_s: float = math.inf, **facts: float | str) -> None:
        """Tells how far the job is; cheap to call often.

        Args:
            done: Items that are done in all.
            at_most_s: Seconds after which it ends in any case.
            facts: To show beside it.
        """
        now = self._clock()
        if now - self._shown >= self._every or done == self._total:
            self._recent.append((now, done))
            self._shown = now
            self._show(self._text(done, at_most_s, facts))

    def _text(self, done: int, at_most_s: float, facts: Mapping[str, float | str]) -> str:
        (first, before), (last, _) = self._recent[0], self._recent[-1]
        rate = (done - before) / (last - first) if last > first else 0.0
        parts = [
            f"{done:,} {self._unit}" if self._total is None else f"{done:,} / {self._total:,} {self._unit}"
        ]
        parts += [f"{name.replace('_', ' ')} {cell(value)}" for name, value in facts.items()]
        if rate > 0:
            parts.append(f"{cell(float(rate))}/s")
            left = at_most_s if self._total is None else min(at_most_s, (self._total - done) / rate)
            if 0 < left < math.inf:
                parts.append(f"{duration(left)} left")
        return "  ".join(parts)

    def _show(self, line: str) -> None:
        self._line = line
        self._stream.write(f"\r\x1b[K{line}" if self._live else line + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Ends the live line, so that what follows starts on one of its own."""
        if self._live and self._line:
            self._stream.write("\n")
            self._stream.flush()
            self._line = ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def duration(seconds: float) -> str:
    """Such as 0:42, 12:03 or 3:04:05."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
