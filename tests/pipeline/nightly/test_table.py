import io
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError, FencedError, StorageError
from pipeline.nightly.table import CURRENT, TableFile, TranscriptTable
from pipeline.schema import TRANSCRIPT_SCHEMA
from pipeline.storage import write_atomic


def row(key: str, publication: int = 1, **fields: Any) -> dict[str, Any]:
    """A row of the table, for a text of the object's name."""
    return {
        "id": f"id of {key} {publication}",
        "input_id": f"input of {key}",
        "uri": f"/in/{key}",
        "member": "",
        "key": key,
        "etag": "e",
        "size": 9,
        "status": "ok",
        "text": key,
        "log_prob": -1.0,
        "confidence": 0.5,
        "width": 9,
        "height": 9,
        "model_name": "m",
        "model_version": "1",
        "model_digest": "d",
        "decoder_version": 1,
        "publication": publication,
        "recognised_at": datetime(2030, 1, 1, tzinfo=UTC),
    } | fields


def put(table: TranscriptTable, run: str, *rows: dict[str, Any]) -> TableFile:
    """Writes a file of a run without publishing it."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=TRANSCRIPT_SCHEMA), sink)
    path = f"run={run}/s000000-{len(sink.getvalue())}-{rows[0]['key']}.parquet"
    write_atomic(f"{table.uri}/{path}", sink.getvalue())
    return TableFile(path=path, bytes=len(sink.getvalue()), rows=len(rows))


def texts(table: TranscriptTable) -> list[tuple[str, str]]:
    rows = table.rows()
    found = [] if rows is None else rows.to_table(columns=["run", "text"]).to_pylist()
    return sorted((each["run"], each["text"]) for each in found)


def nothing() -> None:
    """A check that passes."""


@pytest.fixture(params=["disk", "s3"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> TranscriptTable:
    place = str(tmp_path) if request.param == "disk" else request.getfixturevalue("s3_bucket")
    return TranscriptTable(f"{place}/out")


def test_a_run_appears_whole_once_and_stays(table: TranscriptTable) -> None:
    assert (table.publications(), table.rows(), table.is_published("a")) == (0, None, False)
    files = [put(table, "a", row("x"), row("y")), put(table, "a", row("z"))]
    put(table, "a", row("orphan"))
    for _ in range(2):
        table.publish("a", files, epoch=1, publication=1, check=nothing)
        assert texts(table) == [("a", "x"), ("a", "y"), ("a", "z")]
    assert (table.publications(), table.is_published("a"), table.is_published("b")) == (1, True, False)
    table.publish("b", [put(table, "b", row("x", 2))], epoch=2, publication=2, check=nothing)
    assert texts(table)[-1] == ("b", "x")


def test_a_run_planned_before_another_was_published_is_refused(table: TranscriptTable) -> None:
    table.publish("a", [put(table, "a", row("x"))], epoch=1, publication=1, check=nothing)
    with pytest.raises(FencedError, match="planned on top of 0"):
        table.publish("b", [put(table, "b", row("x"))], epoch=2, publication=1, check=nothing)
    assert texts(table) == [("a", "x")]


def test_a_fence_keeps_older_epochs_out_for_ever(table: TranscriptTable) -> None:
    table.fence(5)
    table.fence(5)
    for write in (
        lambda: table.fence(4),
        lambda: table.publish("a", [put(table, "a", row("x"))], epoch=4, publication=1, check=nothing),
    ):
        with pytest.raises(FencedError, match="a run with lease 5 came after this one's 4"):
            write()
    assert texts(table) == []
    table.publish("a", [put(table, "a", row("x"))], epoch=5, publication=1, check=nothing)


def test_what_happens_between_the_check_and_the_commit_is_noticed(table: TranscriptTable) -> None:
    files = [put(table, "zombie", row("x"))]
    with pytest.raises(FencedError):
        table.publish("zombie", files, epoch=1, publication=1, check=lambda: table.fence(2))
    assert texts(table) == []


def test_of_two_that_publish_the_same_run_at_once_one_commit_counts(table: TranscriptTable) -> None:
    files = [put(table, "a", row("x"))]

    def again() -> None:
        if not table.is_published("a"):
            table.publish("a", files, epoch=1, publication=1, check=nothing)

    table.publish("a", files, epoch=1, publication=1, check=again)
    assert texts(table) == [("a", "x")]


def test_a_check_that_fails_stops_the_commit(table: TranscriptTable) -> None:
    def refuse() -> None:
        raise FencedError("no longer")

    with pytest.raises(FencedError, match="no longer"):
        table.publish("a", [put(table, "a", row("x"))], epoch=1, publication=1, check=refuse)
    assert not table.is_published("a")


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset_after", "times": 1},
        {"kind": "reset_before", "times": 2},
        {"kind": "status", "code": "SlowDown", "status": 503, "times": 3},
        {"kind": "status", "code": "ConditionalRequestConflict", "status": 409, "times": 3},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('code', '')}",
)
@pytest.mark.parametrize("number", [0, 1])
def test_faults_of_the_store_end_in_one_commit(
    s3_server: Any, s3_bucket: str, fault: dict[str, Any], number: int
) -> None:
    table = TranscriptTable(f"{s3_bucket}/out")
    files = [put(table, "a", row("x"))]
    s3_server.order({"method": "PUT", "path": rf"_delta_log/0*{number}\.json", **fault})
    table.publish("a", files, epoch=1, publication=1, check=nothing)
    s3_server.order()
    assert texts(table) == [("a", "x")]
    assert table.publications() == 1


def test_a_store_that_refuses_is_told(s3_server: Any, s3_bucket: str) -> None:
    table = TranscriptTable(f"{s3_bucket}/out")
    s3_server.order({"kind": "status", "path": "_delta_log", "code": "AccessDenied", "status": 403})
    for ask in (lambda: table.is_published("a"), table.publications, lambda: table.fence(1)):
        with pytest.raises(StorageError, match="out/table"):
            ask()


def test_a_reader_meanwhile_sees_all_of_a_run_or_nothing(tmp_path: Path) -> None:
    table = TranscriptTable(str(tmp_path))
    seen: set[tuple[int, ...]] = set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            runs = [run for run, _ in texts(table)]
            seen.add(tuple(runs.count(run) for run in ("a", "b", "c")))

    reader = threading.Thread(target=read)
    reader.start()
    for number, run in enumerate("abc", start=1):
        files = [put(table, run, row(f"{run}{i}"), row(f"{run}{i}'")) for i in range(40)]
        table.publish(run, files, epoch=number, publication=number, check=nothing)
    over.set()
    reader.join()
    assert seen <= {(0, 0, 0), (80, 0, 0), (80, 80, 0), (80, 80, 80)}
    assert texts(table).__len__() == 240


def test_a_table_of_another_version_is_refused_before_anything_is_added(tmp_path: Path) -> None:
    older = pa.schema([("id", pa.string()), ("run", pa.string())])
    deltalake.write_deltalake(str(tmp_path / "table"), older.empty_table(), partition_by=["run"])
    with pytest.raises(DataError, match="columns of another version"):
        TranscriptTable(str(tmp_path)).publications()


def test_duckdb_reads_the_newest_row_of_each_object(tmp_path: Path) -> None:
    table = TranscriptTable(str(tmp_path))
    table.publish("a", [put(table, "a", row("x"), row("y"))], epoch=1, publication=1, check=nothing)
    newer = row("x", 2, text="overwritten")
    table.publish("b", [put(table, "b", newer, row("z", 2))], epoch=2, publication=2, check=nothing)
    published = table.rows()
    assert published is not None
    current = duckdb.sql(f"SELECT key, text FROM ({CURRENT})")
    assert sorted(current.fetchall()) == [("x", "overwritten"), ("y", "y"), ("z", "z")]
