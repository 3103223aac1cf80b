"""What a night owes: the difference between what is there and the newest rows."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, ObjectNotFoundError, ShrunkError
from pipeline.storage import list_objects, write_atomic
from tests.pipeline.nightly.corpus import Corpus


def test_what_has_a_row_is_done_and_what_comes_late_is_found_whatever_its_date(corpus: Corpus) -> None:
    assert corpus.night() == {"a.png": "ok", "b c/ü.png": "ok", "z.txt": "ok"}
    assert corpus.night() == {}
    corpus.write("0 backdated.png", "late")
    os.utime(f"{corpus.source}/0 backdated.png", (1, 1))
    assert corpus.night() == {"0 backdated.png": "ok"}


def test_what_is_overwritten_deleted_and_restored_gets_a_row_each_time(corpus: Corpus) -> None:
    corpus.night()
    corpus.write("a.png", "other and longer")
    assert corpus.night() == {"a.png": "ok"}
    kept, aside = Path(f"{corpus.source}/a.png"), Path(f"{corpus.source}.aside")
    for _ in range(2):
        kept.rename(aside)
        assert corpus.night() == {"a.png": "deleted"}
        assert corpus.night() == {}
        aside.rename(kept)
        assert corpus.night() == {"a.png": "ok"}  # the same version, its time kept
    rows = corpus.table.rows().to_table(columns=["id"])["id"].to_pylist()
    assert len(rows) == len(set(rows)) == 8


def test_a_new_model_reads_everything_again_only_where_that_is_asked_for(corpus: Corpus) -> None:
    corpus.night("one")
    assert corpus.night("two") == {}
    assert len(corpus.night("two", policy="backfill")) == 3
    assert corpus.night("two", policy="backfill") == {}


def test_names_that_are_not_wanted_are_counted_and_are_not_gone(corpus: Corpus) -> None:
    corpus.night()
    facts, rows = corpus.plan(include=("*.txt",))
    assert (facts.seen, facts.named, facts.gone, rows) == (3, 1, 0, [])
    assert facts.publication == 2


def test_a_limit_takes_the_first_by_name_and_says_nothing_of_what_is_gone(corpus: Corpus) -> None:
    assert corpus.night(limit=1) == {"a.png": "ok"}
    corpus.remove("a.png")
    assert corpus.night(limit=1) == {"b c/ü.png": "ok"}
    assert corpus.night() == {"a.png": "deleted", "z.txt": "ok"}


def test_two_inputs_of_one_output_leave_each_others_rows_alone(corpus: Corpus, tmp_path: Path) -> None:
    corpus.night()
    (tmp_path / "in2").mkdir()
    (tmp_path / "in2/a.png").write_bytes(b"other input whose name begins alike")
    assert corpus.night(source=f"{corpus.source}2") == {"a.png": "ok"}
    assert corpus.night() == {}


def test_a_listing_that_shrank_is_suspected_first(tmp_path: Path) -> None:
    corpus = Corpus(str(tmp_path), allow_shrink=False)
    for number in range(100):
        corpus.write(f"{number:03d}.png")
    corpus.night()
    for number in range(20):
        corpus.remove(f"{number:03d}.png")
    assert len(corpus.night()) == 20
    for number in range(20, 60):
        corpus.remove(f"{number:03d}.png")
    with pytest.raises(ShrunkError, match=r"40 of the 80 objects known are gone.*--allow-shrink"):
        corpus.plan()
    assert len(corpus.night(allow_shrink=True)) == 40


def test_nothing_that_matches_is_a_mistake_and_nothing_new_is_none(corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match=r"holds 3 objects, none of which matches \*\.jpg"):
        corpus.plan(include=("*.jpg",))
    corpus.night()
    assert corpus.plan(include=("*.jpg",))[1] == []
    with pytest.raises(ObjectNotFoundError):
        corpus.plan(source=f"{corpus.source}/no such folder")


def test_suffixes_are_asked_for_in_any_case(corpus: Corpus) -> None:
    corpus.write("c.PNG")
    facts, rows = corpus.plan(suffixes=(".png",), include=("*c*",))
    assert [row["key"] for row in rows] == ["b c/ü.png", "c.PNG"]
    assert (facts.seen, facts.named) == (4, 2)


class Model:
    """What must hold, in plain Python: readers see of each file the version that is there, once."""

    def __init__(self) -> None:
        self.current: dict[str, str] = {}  # versions by key

    def owed(self, files: dict[str, str]) -> dict[str, str]:
        owed = {key: "ok" for key, version in files.items() if self.current.get(key) != version}
        owed |= dict.fromkeys(self.current.keys() - files.keys(), "deleted")
        self.current = dict(files)
        return owed


def test_a_version_that_is_put_back_is_read_again(corpus: Corpus) -> None:
    kept = f"{corpus.source}/a.png"
    first = Path(kept).read_bytes()

    def put_in(data: bytes) -> None:
        write_atomic(kept, data)
        os.utime(kept, (1, 1))  # one version for one content, as on S3

    put_in(first)
    corpus.night()
    for data in (b"a bad upload", first, b"a bad upload", first):
        put_in(data)
        assert corpus.night() == {"a.png": "ok"}
        assert corpus.night() == {}
    ids = corpus.table.rows().to_table(columns=["id"])["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 7


def test_a_model_that_is_put_back_reads_again_what_the_other_read(corpus: Corpus) -> None:
    corpus.night("good")
    for digest in ("bad", "good", "bad"):
        assert len(corpus.night(digest, policy="backfill")) == 3
        assert corpus.night(digest, policy="backfill") == {}
    ids = corpus.table.rows().to_table(columns=["id"])["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 12


def test_what_was_overwritten_while_it_was_read_is_owed_whatever_is_there_now(corpus: Corpus) -> None:
    assert corpus.night(superseded=["a.png"])["a.png"] == "superseded"
    assert [each["key"] for each in corpus.plan()[1]] == ["a.png"]  # the version that was listed is back


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    nights=st.lists(
        st.dictionaries(st.sampled_from(["a", "b/c", "ü", "b-"]), st.sampled_from(["1", "22", "333"])),
        min_size=2,
        max_size=5,
    )
)
def test_whatever_happens_to_files_each_night_owes_what_plain_sets_say(
    tmp_path_factory: pytest.TempPathFactory, nights: list[dict[str, str]]
) -> None:
    corpus, model = Corpus(str(tmp_path_factory.mktemp("corpus"))), Model()
    corpus.write("always there")
    corpus.night()
    for files in nights:
        for stored in list(list_objects(corpus.source)):
            if stored.key != "always there":
                corpus.remove(stored.key)
        for key, data in files.items():
            corpus.write(key, data)
            os.utime(f"{corpus.source}/{key}", (1, 1))  # one version for one content, whenever it is written
        assert corpus.night() == model.owed(files)
        assert corpus.night() == {}
