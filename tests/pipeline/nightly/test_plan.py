import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, ObjectNotFoundError, ShrunkError, StorageError
from pipeline.inputs.archives import open_archive
from pipeline.inputs.range_file import RangeFile
from pipeline.listing import ListingFacts
from pipeline.nightly.plan import PlanConfig, make_plan
from pipeline.nightly.table import TranscriptTable
from pipeline.storage import list_objects, write_atomic
from tests.pipeline.inputs.test_archives import packed, tar
from tests.pipeline.nightly.test_table import nothing, put, row


class Corpus:
    """A folder of images and the table of their rows; a night publishes what is planned."""

    def __init__(self, folder: str, **options: Any) -> None:
        self.source, self.table = f"{folder}/in", TranscriptTable(f"{folder}/out")
        usual = {"include": ("*",), "suffixes": (), "policy": "new_only", "limit": None}
        usual |= {"allow_shrink": True, "index_uri": f"{folder}/out/archives"}
        self.config = PlanConfig(source=self.source, **usual | options)
        self.nights = 0

    def write(self, key: str, data: str = "") -> None:
        write_atomic(f"{self.source}/{key}", data.encode())

    def remove(self, key: str) -> None:
        Path(f"{self.source}/{key}").unlink()

    def plan(self, digest: str = "d", **changes: Any) -> tuple[ListingFacts, list[dict[str, Any]]]:
        config = replace(self.config, **changes)
        with make_plan(config, self.table, digest=digest, decoder=1) as plan:
            rows = [each for table in plan.rows for each in table.to_pylist()]
            assert plan.new == sum(not each["gone"] for each in rows)
            assert plan.bytes == sum(each["size"] for each in rows if not each["gone"])
        return plan.facts, rows

    def night(self, digest: str = "d", **changes: Any) -> dict[str, str]:
        """Status by key of what was published."""
        facts, rows = self.plan(digest, **changes)
        self.nights += 1
        done = [
            row(
                each["key"],
                facts.publication,
                member=each["member"],
                position=each["position"],
                box=each["box"],
                input_id=each["input_id"],
                uri=each["uri"],
                etag=each["etag"],
                size=each["size"],
                status="deleted" if each["gone"] else "ok",
                model_digest=digest,
                id=f"{each['input_id']} {digest} {each['earlier_rows']} {each['gone']}",
            )
            for each in rows
        ]
        if done:
            files = [put(self.table, f"n{self.nights}", *done)]
            self.table.publish(
                f"n{self.nights}", files, epoch=self.nights, publication=facts.publication, check=nothing
            )
        return {each["key"]: each["status"] for each in done}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus(str(tmp_path))
    for key in ("a.png", "b c/ü.png", "z.txt"):
        corpus.write(key, key)
    return corpus


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


def test_a_bucket_is_planned_like_a_disk(s3_bucket: str, corpus: Corpus) -> None:
    there = Corpus(s3_bucket)
    for key in ("a.png", "b c/ü.png", "z.txt"):
        there.write(key, key)
    assert there.night() == corpus.night()
    assert there.night() == {}
    there.write("a.png", "other")
    assert there.night() == {"a.png": "ok"}


@pytest.mark.parametrize(
    "fault", [{"code": "AccessDenied", "status": 403}, {"code": "ExpiredToken", "status": 400}]
)
def test_a_prefix_that_may_not_be_listed_is_not_an_empty_one(
    s3_server: Any, s3_bucket: str, fault: dict[str, Any]
) -> None:
    corpus = Corpus(s3_bucket)
    corpus.write("a.png")
    corpus.night()
    s3_server.order({"kind": "status", "method": "GET", "query": "prefix=in", **fault})
    with pytest.raises(StorageError, match=fault["code"]):
        corpus.plan()


def test_members_of_archives_come_and_go_like_objects(corpus: Corpus) -> None:
    images = {f"{number}.png": b"%d" % number for number in range(4)}
    write_atomic(f"{corpus.source}/x.tar", tar(images | {"labels.txt": b"left out by name"}))
    corpus.write("y.zip", "no zip")
    members = [f"x.tar/{name}" for name in images]
    night = corpus.night()
    assert night == dict.fromkeys(["a.png", "b c/ü.png", "z.txt", *members, "y.zip"], "ok")
    assert corpus.night() == {}
    write_atomic(f"{corpus.source}/y.zip", packed({"0.png": b"0"}))
    assert corpus.night() == {"y.zip": "deleted", "y.zip/0.png": "ok"}
    write_atomic(f"{corpus.source}/x.tar", tar(dict(list(images.items())[:3])))
    assert corpus.night() == dict.fromkeys(members[:3], "ok") | {members[3]: "deleted"}
    corpus.remove("x.tar")
    assert corpus.night() == dict.fromkeys(members[:3], "deleted")


def test_what_lies_behind_the_damage_of_an_archive_is_not_taken_for_gone(corpus: Corpus) -> None:
    images = {f"{number}.png": b"%d" % number for number in range(4)}
    write_atomic(f"{corpus.source}/x.tar", tar(images))
    corpus.night()
    write_atomic(f"{corpus.source}/x.tar", tar(images)[:2_600])
    facts, rows = corpus.plan()
    assert {row["member"]: row["unfit"] for row in rows} == {
        "0.png": None,
        "1.png": None,
        "": "damaged_archive",
    }
    assert facts.gone == 0


def test_a_list_names_what_to_read_once_and_says_nothing_of_what_it_leaves_out(
    corpus: Corpus, tmp_path: Path
) -> None:
    listed = f"{tmp_path}/list.csv"
    lines = ["uri,box", "in/a.png,", "in/a.png,", 'in/a.png,"[0,0,5,5]"', "in/z.txt,", "in/none.png,"]
    Path(listed).write_text("\n".join(lines))
    facts, rows = corpus.plan(source=listed)
    assert (facts.seen, facts.named, facts.repeated, facts.gone, len(rows)) == (5, 5, 1, 0, 4)
    assert corpus.night(source=listed).keys() == {"in/a.png", "in/z.txt", "in/none.png"}
    assert corpus.night(source=listed) == {}
    Path(listed).write_text("\n".join(lines[:3] + lines[4:]))
    assert corpus.night(source=listed) == {}
    corpus.write("z.txt", "other and longer")
    corpus.write("none.png", "there now")
    assert corpus.night(source=listed) == {"in/z.txt": "ok", "in/none.png": "ok"}
    assert set(corpus.night()) == {"b c/ü.png"}  # the folder's other objects


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
    facts, rows = corpus.plan()
    done = [
        row(
            each["key"],
            facts.publication,
            status="superseded" if each["key"] == "a.png" else "ok",
            **{name: each[name] for name in ("input_id", "uri", "etag", "size")},
        )
        for each in rows
    ]
    files = [put(corpus.table, "first", *done)]
    corpus.table.publish("first", files, epoch=1, publication=1, check=nothing)
    assert [each["key"] for each in corpus.plan()[1]] == ["a.png"]  # the version that was listed is back


def test_an_archive_that_changes_while_it_is_listed_has_lost_no_members(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"{number}.png": b"%d" % number for number in range(4)}
    write_atomic(f"{corpus.source}/x.tar", tar(images))
    corpus.night()
    write_atomic(f"{corpus.source}/x.tar", tar(images | {"4.png": b"4"}))
    listed = open_archive

    def overwritten_first(file: RangeFile) -> Any:
        write_atomic(f"{corpus.source}/x.tar", tar(images | {"4.png": b"4", "5.png": b"5"}))
        return listed(file)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.inputs.listed.open_archive", overwritten_first)
        facts, rows = corpus.plan()
    assert (facts.gone, [(each["key"], each["unfit"]) for each in rows]) == (0, [("x.tar", None)])
    assert corpus.night() == {f"x.tar/{number}.png": "ok" for number in range(6)}


def test_a_list_that_names_a_version_which_is_gone_owes_it_once(corpus: Corpus, tmp_path: Path) -> None:
    listed = f"{tmp_path}/list.csv"
    Path(listed).write_text("uri,etag,size\nin/a.png,stale,3\nin/z.txt,,\n")
    facts, rows = corpus.plan(source=listed)
    done = [
        row(
            each["key"],
            facts.publication,
            status="superseded" if each["etag"] == "stale" else "ok",
            **{name: each[name] for name in ("input_id", "uri", "etag", "size")},
        )
        for each in rows
    ]
    files = [put(corpus.table, "first", *done)]
    corpus.table.publish("first", files, epoch=1, publication=1, check=nothing)
    assert corpus.plan(source=listed)[1] == []


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
