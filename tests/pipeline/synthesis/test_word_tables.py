"""pipeline.synthesis.word_tables: what each source gives, and where every entry of it went."""

import gzip
import string
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crnn.charset import LATIN94
from pipeline.errors import ConfigError
from pipeline.synthesis.debian import Package
from pipeline.synthesis.split import split_of
from pipeline.synthesis.word_tables import LONGEST, SCHEMA, WordTable, word_tables, words_arrow

CHARACTERS = LATIN94.characters
LISTED = ("Paris", "exit", "exit's", "café", "42", "o'clock", "x" * (LONGEST + 1), "NATO", "Zürich")


def own(path: Path, text: str | bytes, characters: str = CHARACTERS) -> WordTable:
    """The user's table, of a small language's words."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return word_tables(characters, "ms", [], str(path))["own"]


def package(folder: Path) -> Package:
    """One that holds a list of words and, as Debian's do, a link to it."""
    lists = folder / "usr" / "share" / "dict"
    lists.mkdir(parents=True)
    (lists / "american-large").write_text("\n".join(LISTED), "utf-8")
    (lists / "words").symlink_to("american-large")
    return Package(name="wamerican-large", version="2020", folder=folder, licence="", kind=None)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WordTable]:
    """With é among the characters, but no ü."""
    return word_tables(CHARACTERS + "é", "en", [package(tmp_path_factory.mktemp("package"))], None)


def test_coarse_words_are_left_out_and_those_that_merely_hold_one_are_not(
    english: dict[str, WordTable], tmp_path: Path
) -> None:
    table = english["frequent"]
    assert not {"arse", "bollocks", "jackass"} & table.weights.keys()
    likes = ("class", "assess", "hancock", "cockpit", "scunthorpe", "analysis", "snigger", "titan", "dick")
    assert {*likes, "peacock", "raccoon", "shiitake", "horn", "grass", "sussex"} <= table.weights.keys()
    assert 300 < table.rejected["coarse"] < 700
    assert "coarse" not in word_tables(CHARACTERS, "ms", [], None)["frequent"].rejected
    assert own(tmp_path / "own", "Bollocks").weights == {"Bollocks": 1.0}  # what is asked for is drawn


def test_frequent_words_are_drawn_by_the_square_root_of_how_often_they_are_written() -> None:
    import wordfreq

    table = word_tables(CHARACTERS, "ms", [], None)["frequent"]
    for word in ("yang", "dan", "rumah"):  # wordfreq tells frequencies rounded
        assert table.weights[word] == pytest.approx(wordfreq.word_frequency(word, "ms") ** 0.5, rel=0.01)


def test_a_dictionary_gives_words_all_alike_and_the_rest_of_it_is_counted(
    english: dict[str, WordTable],
) -> None:
    table = english["dictionary"]
    assert dict(table.weights) == dict.fromkeys(("NATO", "Paris", "café", "exit", "o'clock"), 1.0)
    assert table.read == len(LISTED)
    assert table.rejected == {"characters": 1, "length": 1, "no letters": 1, "possessives": 1}
    assert table.source == "wamerican-large 2020"


def test_names_are_the_dictionarys_words_with_one_capital_first(english: dict[str, WordTable]) -> None:
    assert (dict(english["names"].weights), english["names"].rejected) == ({"Paris": 1}, {"characters": 1})


def test_common_words_stand_in_for_a_dictionary_and_rare_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.synthesis.word_tables.COMMON", 1e-5)  # this language's list has none rarer
    tables = word_tables(CHARACTERS, "ms", [], None)
    assert set(tables) == {"frequent", "dictionary"}  # and no names: all words are in small letters
    common, frequent = tables["dictionary"].weights, tables["frequent"].weights
    assert set(common.values()) == {1.0}
    assert set(common) == {word for word, weight in frequent.items() if weight >= 1e-5**0.5}
    assert 0 < len(common) < len(frequent)


def test_words_of_another_script_are_drawable_with_its_characters() -> None:
    table = word_tables("한국어사람", "ko", [], None)["frequent"]
    assert {"한국", "사람"} <= set(table.weights)
    assert all(set(word) <= set("한국어사람") for word in table.weights)


@pytest.mark.parametrize("language", ["tlh", "english", "en-XX", ""])
def test_an_unknown_language_is_told_and_never_replaced_by_another(language: str) -> None:
    with pytest.raises(ConfigError, match=rf"no words for '{language}'; it has .*\ben\b.*\bko\b"):
        word_tables(CHARACTERS, language, [], None)


def test_a_users_list_may_hold_weights_and_a_word_again_adds_its_own(tmp_path: Path) -> None:
    table = own(tmp_path / "list.tsv", "\ufeffExit\t2.5\r\n\r\n  42 \nexit\t1e3\nExit\t0.5\ncafé\n")
    assert dict(table.weights) == {"Exit": 3.0, "42": 1.0, "exit": 1000.0}
    assert (table.read, table.rejected) == (5, {"characters": 1, "twice": 1})


def test_a_compressed_list_is_read_alike(tmp_path: Path) -> None:
    assert own(tmp_path / "list.gz", gzip.compress(b"exit\nopen\t2\n")).weights == {"exit": 1, "open": 2}


@pytest.mark.parametrize("text", ["", "\n \n\t\n"[:3], "\ufeff"])
def test_an_empty_list_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"list\.txt is empty\. Give a list with a word a line"):
        own(tmp_path / "list.txt", text)


def test_a_list_of_which_nothing_can_be_drawn_is_told_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has 2 words, none of them drawable: {'characters': 2}"):
        own(tmp_path / "list.txt", "日本\n語\n")


@pytest.mark.parametrize("weight", ["many", "0", "-1", "nan", "inf", "", "1\t2"])
def test_what_is_no_weight_is_told_with_its_line(tmp_path: Path, weight: str) -> None:
    with pytest.raises(ConfigError, match=r"list\.tsv:2: .* is no weight"):
        own(tmp_path / "list.tsv", f"open\t1\nexit\t{weight}\n")


@pytest.mark.parametrize(
    ("name", "data"),
    [("list.txt", b"caf\xe9\n"), ("list.gz", b"no gzip"), ("list.gz", gzip.compress(b"a", mtime=0)[:-9])],
)
def test_what_is_no_text_is_told(tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(ConfigError, match="isn't a UTF-8 text"):
        own(tmp_path / name, data)


def test_a_list_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no word list at .*none\.txt\. Check --words"):
        word_tables(CHARACTERS, "ms", [], str(tmp_path / "none.txt"))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(string.ascii_letters + "é'7", min_size=1, max_size=40), min_size=1))
def test_every_entry_of_a_list_is_kept_or_counted(tmp_path: Path, words: list[str]) -> None:
    table = own(tmp_path / "list.txt", "\n".join(["sure", *words]))
    assert table.read == len(words) + 1 == len(table.weights) + sum(table.rejected.values())
    drawable = [w for w in ["sure", *words] if len(w) <= LONGEST and set(w) <= set(CHARACTERS)]
    assert set(table.weights) == set(drawable)
    assert sum(table.weights.values()) == len(drawable)


def test_a_language_without_drawable_words_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    tables = word_tables("0123456789", "ms", [], None)
    assert not any(table.weights for table in tables.values())
    assert "No word of ['frequent', 'dictionary'] can be written with these 10" in caplog.text


def test_the_file_of_words_says_each_words_table_split_and_weight() -> None:
    weights = {"frequent": {"exit": 0.5, "aye": 2.0}, "own": {"Exit": 1.0}}
    tables = {n: WordTable(source="", weights=w, read=len(w), rejected={}) for n, w in weights.items()}
    data = words_arrow(tables)
    read = pa.ipc.open_file(pa.py_buffer(data)).read_all()
    assert read.schema == SCHEMA
    assert [tuple(row.values()) for row in read.to_pylist()] == [
        (name, split_of(word), word, weight) for name, w in weights.items() for word, weight in w.items()
    ]
    assert words_arrow(tables) == data
