"""What a night owes of buckets, archives and lists."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StorageError
from pipeline.inputs.archives import open_archive
from pipeline.inputs.range_file import RangeFile
from pipeline.storage import write_atomic
from tests.pipeline.inputs.test_archives import packed, tar
from tests.pipeline.nightly.corpus import Corpus


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
    assert corpus.night(source=listed, superseded=["in/a.png"])["in/a.png"] == "superseded"
    assert corpus.plan(source=listed)[1] == []
