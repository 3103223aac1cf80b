"""The command line and what jobs print."""

import io
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cli import Progress, duration, parse_flags, parse_recipe, table
from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    """How it moves."""

    learning_rate: float = 1e-3
    """Peak learning rate."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ConfigError("learning_rate must be positive.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """A job for the tests."""

    name: str = "plain"
    """Name of the run."""
    images: int = 10
    """Images to see in all."""
    gpu: bool = False
    """Use a GPU."""
    inner: Inner = field(default_factory=Inner)
    """How it moves."""


def demo() -> Settings:
    """Small enough for a laptop.

    More words that the list of recipes has no room for.
    """
    return Settings(name="demo", images=100)


def paper() -> Settings:
    """The reference."""
    return Settings(name="paper", images=128_000_000, inner=Inner(learning_rate=1.0))


RECIPES = {"demo": demo, "paper": paper}


def parse(*argv: str) -> Settings:
    return parse_recipe(RECIPES, argv, "jobs/train.py")


def test_a_recipe_is_taken_whole_and_flags_only_override() -> None:
    assert parse("paper") == paper()
    assert parse("paper", "--images", "5", "--gpu", "--inner.learning-rate", "0.5") == Settings(
        name="paper", images=5, gpu=True, inner=Inner(learning_rate=0.5)
    )


@pytest.mark.parametrize(
    ("argv", "suggestion"),
    [
        (("dmo",), "Did you mean demo?"),
        (("demo", "--imagse", "3"), "--images INT"),
        (("demo", "--inner.learning-rat", "3"), "--inner.learning-rate FLOAT"),
        (("demo", "--images", "many"), "--images"),
        (("demo", "--inner.learning-rate", "-1"), "learning_rate must be positive"),
        (("--gpu", "demo"), "There is no recipe '--gpu'"),
        ((), "The name of a recipe must come first"),
    ],
)
def test_what_cannot_be_exits_with_2_and_says_what_was_meant(
    argv: tuple[str, ...], suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(*argv)
    assert end.value.code == 2
    assert suggestion in " ".join(capsys.readouterr().err.split())


def test_help_lists_the_recipes_and_a_recipe_s_help_shows_the_fields_documentation_with_its_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        parse("--help")
    assert end.value.code == 0
    listed = capsys.readouterr().out
    assert "demo         Small enough for a laptop." in listed
    assert "More words" not in listed

    with pytest.raises(SystemExit) as end:
        parse("paper", "--help")
    assert end.value.code == 0
    flags = " ".join(capsys.readouterr().out.split())
    assert "python jobs/train.py paper" in flags
    assert "Images to see in all. (default: 128000000)" in flags
    assert "--inner.learning-rate FLOAT" in flags


def test_a_job_without_recipes_takes_flags_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_flags(Settings, ["--name", "x"], "jobs/ingest.py") == Settings(name="x")
    with pytest.raises(SystemExit) as end:
        parse_flags(Settings, ["--nam", "x"], "jobs/ingest.py")
    assert end.value.code == 2
    assert "--name STR" in capsys.readouterr().err


def test_a_password_on_the_command_line_is_refused_and_not_repeated() -> None:
    password = ["--name", "http://me:hunter2@mlflow:5000"]
    for parse_it in (
        lambda: parse("demo", *password),
        lambda: parse_flags(Settings, password, "jobs/ingest.py"),
    ):
        with pytest.raises(ConfigError, match="MLFLOW_TRACKING_PASSWORD") as refused:
            parse_it()
        assert "hunter2" not in str(refused.value)
    for harmless in ("http://mlflow:5000/a@b", "s3://b/me:x@y", "models:/crnn@champion", "http://me@mlflow"):
        assert parse("demo", "--name", harmless).name == harmless


def test_numbers_line_up_on_the_right_and_words_on_the_left() -> None:
    text = table(["reason", "rows"], [["broken", 12_345], ["empty", None], ["odd", 7]])
    assert text.splitlines() == [
        "reason    rows",
        "------  ------",
        "broken  12,345",
        "empty        -",
        "odd          7",
    ]


def test_a_table_without_rows_is_its_heading() -> None:
    assert table(["a", "bb"], []).splitlines() == ["a  bb", "-  --"]


@given(st.lists(st.tuples(st.text("abc ", max_size=9), st.integers()), max_size=8))
def test_every_row_of_a_table_is_one_line(rows: list[tuple[str, int]]) -> None:
    assert len(table(["word", "count"], rows).splitlines()) == len(rows) + 2


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_tells_rate_and_time_left_in_plain_lines_off_a_terminal() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(1000, "images", start=100, stream=stream, clock=clock) as progress:
        clock.now = 40.0
        progress.update(500, loss=1.25)
        clock.now = 41.0
        progress.update(510, loss=1.0)  # too soon for another line
    assert stream.getvalue() == "500 / 1,000 images  loss 1.25  10/s  0:50 left\n"


def test_progress_always_shows_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(10, "rows", stream=stream, clock=clock) as progress:
        for done in range(11):
            clock.now += 1.0
            progress.update(done)
    assert stream.getvalue().splitlines()[-1] == "10 / 10 rows  0.9091/s"


def test_progress_renews_one_line_on_a_terminal() -> None:
    stream, clock = Terminal(), Clock()
    with Progress(None, "rows", stream=stream, clock=clock) as progress:
        for done in (5, 10):
            clock.now += 1.0
            progress.update(done)
    assert stream.getvalue() == "\r\x1b[K5 rows  5/s\r\x1b[K10 rows  5/s\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (723, "12:03"), (11_045, "3:04:05")]
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("total", "at_most_s", "told"),
    [(1000, 30.0, "0:30 left"), (1000, 300.0, "1:00 left"), (None, 30.0, "0:30 left"), (1000, -1.0, "")],
)
def test_progress_of_a_job_that_ends_by_its_time_tells_the_shorter_of_both(
    total: int | None, at_most_s: float, told: str
) -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(total, "images", stream=stream, clock=clock) as progress:
        clock.now = 40.0
        progress.update(400, at_most_s=at_most_s)
    assert stream.getvalue().partition("10/s")[2].strip() == told
