"""Nights that are killed, stopped, doubled and starved, against a real S3 server: the end is always the same.

The oracle, after whatever happened and one more start: the rows are those of the frozen listing, ids are
unique, texts are those of an undisturbed night, and a reader polling meanwhile saw all of a run or nothing.
"""

import io
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from pipeline.nightly.table import TranscriptTable
from pipeline.storage import delete, write_atomic
from tests.pipeline.inputs.test_archives import tar, tgz
from tests.pipeline.nightly.night_oracle import (
    MUTATING,
    Nights,
    Watcher,
    is_exact,
    kill_points,
    published,
    until,
)

IMAGES, SHARD_ROWS = 22, 5
PACKED = {"more.tar": range(8, 10), "more.tgz": range(10, 12)}
"""Those that lie in archives."""


@pytest.fixture(scope="module")
def nights(s3_server: Any) -> Iterator[Nights]:
    nights = Nights(s3_server.environment())
    yield nights
    nights.close()


@pytest.fixture
def place(s3_bucket: str, s3_server: Any, untrained_bundle: Path) -> Iterator[dict[str, Any]]:
    """The config of a night over some images, loose and in archives, one of which is none."""
    files = {}
    for number in range(IMAGES - 1):
        image, buffer = Image.new("L", (30 + 5 * number, 24), 230), io.BytesIO()
        ImageDraw.Draw(image).text((4, 6), f"word {number}", 20)
        image.save(buffer, "PNG")
        files[f"{number:02d}.png"] = buffer.getvalue()
    for (name, numbers), make in zip(PACKED.items(), (tar, tgz), strict=True):
        packed = {f"{number:02d}.png": files.pop(f"{number:02d}.png") for number in numbers}
        write_atomic(f"{s3_bucket}/in/{name}", make(packed))
    for name, data in files.items():
        write_atomic(f"{s3_bucket}/in/{name}", data)
    write_atomic(f"{s3_bucket}/in/notes.txt", b"no picture")
    yield {
        "input": f"{s3_bucket}/in",
        "output": f"{s3_bucket}/out",
        "model": str(untrained_bundle),
        "run": "night",
        "shard_rows": SHARD_ROWS,
    }
    s3_server.order()


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """What a night without any fault publishes, by key; filled by whoever is first."""
    return {}


@pytest.fixture
def clean(
    nights: Nights, place: dict[str, Any], undisturbed: dict[str, Any], s3_server: Any
) -> dict[str, tuple[Any, ...]]:
    """What must come of it; and under "requests" how many mutating requests it took."""
    if not undisturbed:
        s3_server.order()
        config = place | {"output": place["output"] + "-undisturbed"}
        assert nights.run(**config) == 0
        requests = s3_server.requests()
        undisturbed["requests"] = sum(method in MUTATING.split("|") for method, *_ in requests)
        undisturbed["rows"] = published(config)
        assert len(undisturbed["rows"]) == IMAGES
    return dict(undisturbed["rows"])


def test_a_night_killed_at_some_requests_is_exact_after_one_more_start(
    nights: Nights, s3_server: Any, place: dict[str, Any], clean: Any, undisturbed: dict[str, Any]
) -> None:
    last = undisturbed["requests"] - 1
    kill_points(nights, s3_server, place, clean, [last // 2, last - 1])


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_a_night_killed_at_every_request_is_exact_after_one_more_start(
    nights: Nights, s3_server: Any, place: dict[str, Any], clean: Any, undisturbed: dict[str, Any]
) -> None:
    kill_points(nights, s3_server, place, clean, list(range(undisturbed["requests"])))


@pytest.mark.faults
def test_a_night_killed_at_random_again_and_again_is_exact_in_the_end(
    nights: Nights, s3_server: Any, place: dict[str, Any], clean: Any
) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1 << 32))
    sys.stdout.write(f"FAULTS_SEED={seed}\n")  # pytest shows it where the test fails
    chance = random.Random(seed)
    with Watcher(place["output"]) as watcher:
        for _ in range(20):
            pid = nights.prepare(**place)
            nights.go(pid)
            time.sleep(chance.uniform(0, 1.5))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # it had ended
                assert nights.wait(pid) == 0
            else:
                assert nights.wait(pid) in (0, -signal.SIGKILL)
        assert nights.run(**place) == 0
    assert is_exact(place, clean)
    assert watcher.seen <= {("night", IMAGES)}


def test_three_starts_of_one_run_at_once_end_in_one_result(
    nights: Nights, place: dict[str, Any], clean: Any
) -> None:
    pids = [nights.prepare(**place, lease_s=2) for _ in range(3)]
    for pid in pids:
        nights.go(pid)
    codes = sorted(nights.wait(pid) for pid in pids)
    assert codes[0] == 0
    assert set(codes) <= {0, 75}
    assert is_exact(place, clean)


@pytest.mark.faults
def test_of_two_runs_at_once_one_is_refused_and_finds_nothing_new_later(
    nights: Nights, place: dict[str, Any], clean: Any
) -> None:
    pids = [nights.prepare(**place | {"run": run}, lease_s=2) for run in ("night", "other")]
    for pid in pids:
        nights.go(pid)
    codes = [nights.wait(pid) for pid in pids]
    assert 0 in codes
    assert set(codes) <= {0, 75}
    assert published(place) == clean
    for run in ("night", "other"):
        assert nights.run(**place | {"run": run}, lease_s=2) == 0
    rows = TranscriptTable(place["output"]).rows()
    assert rows is not None
    assert rows.count_rows() == IMAGES


CONFLICT = {
    "kind": "status",
    "method": "PUT",
    "code": "ConditionalRequestConflict",
    "status": 409,
    "times": 3,
}


def whole_suite(value: Any) -> Any:
    """A case of `make faults` only."""
    return pytest.param(value, marks=pytest.mark.faults)


@pytest.mark.parametrize("successor", ["night", pytest.param("other", marks=pytest.mark.faults)])
def test_a_night_that_slept_through_its_lease_publishes_nothing_when_it_wakes(
    nights: Nights, s3_server: Any, place: dict[str, Any], clean: Any, successor: str
) -> None:
    zombie = nights.prepare(**place, lease_s=1)
    s3_server.order({"kind": "delay", "method": "GET", "path": "/in/07", "seconds": 1.0, "times": 1})
    nights.go(zombie)
    until(lambda: any("/in/07" in path for _, path, _ in s3_server.requests()))
    os.kill(zombie, signal.SIGSTOP)
    try:
        # On another machine its silence alone would tell; here its process is alive, and so is watched.
        assert nights.run(**place | {"run": successor}, lease_s=1) == 0
    finally:
        os.kill(zombie, signal.SIGCONT)
    assert nights.wait(zombie) == 76
    assert is_exact(place | {"run": successor}, clean)


@pytest.mark.parametrize(
    "fault",
    [
        whole_suite({"kind": "status", "probability": 0.3}),
        whole_suite({"kind": "status", "probability": 0.9, "times": 60}),
        whole_suite({"kind": "reset_before", "probability": 0.3}),
        whole_suite({"kind": "reset_after", "probability": 0.3}),
        whole_suite({"kind": "truncate", "method": "GET", "path": "/in/", "times": 8}),
        {"kind": "corrupt", "method": "GET", "path": "/in/", "times": 8},
        whole_suite(
            {"kind": "ok_error", "method": "GET", "path": "/in/", "code": "InternalError", "times": 4}
        ),
        whole_suite(CONFLICT),
    ],
    ids=[
        "slow down",
        "very slow",
        "resets",
        "lost answers",
        "truncated bodies",
        "flipped bytes",
        "errors with status 200",
        "conflicts",
    ],
)
def test_faults_that_pass_leave_no_trace(
    nights: Nights, s3_server: Any, place: dict[str, Any], clean: Any, fault: dict[str, Any]
) -> None:
    bucket = place["output"].removeprefix("s3://").partition("/")[0]
    pid = nights.prepare(**place)
    s3_server.order({"path": f"/{bucket}/"} | fault)
    nights.go(pid)
    code = nights.wait(pid)
    s3_server.order()
    assert code in (0, 3)  # patience is short here
    assert nights.run(**place) == 0
    assert is_exact(place, clean)


@pytest.mark.parametrize(
    "fault",
    [
        {"code": "ExpiredToken", "status": 400, "method": "GET", "path": "/in/1"},
        whole_suite({"code": "AccessDenied", "status": 403, "method": "GET", "path": "/in/1"}),
        whole_suite({"code": "AccessDenied", "status": 403, "method": "GET", "query": "prefix=in"}),
        whole_suite({"code": "SlowDown", "status": 503, "method": "GET", "path": "/in/07"}),
        whole_suite({"code": "AccessDenied", "status": 403, "method": "PUT", "path": "/out/table/run"}),
        whole_suite(
            {"code": "AccessDenied", "status": 403, "method": "PUT", "path": "/out/table/_delta_log"}
        ),
    ],
    ids=["expired", "denied objects", "denied listing", "one key fails for ever", "full", "no commit"],
)
def test_faults_that_stay_publish_nothing_and_the_next_start_goes_on(
    nights: Nights, s3_server: Any, place: dict[str, Any], clean: Any, fault: dict[str, Any]
) -> None:
    pid = nights.prepare(**place)
    s3_server.order({"kind": "status"} | fault)
    nights.go(pid)
    assert nights.wait(pid) == 3
    s3_server.order()
    assert not TranscriptTable(place["output"]).is_published("night")
    assert nights.run(**place) == 0
    assert is_exact(place, clean)


def test_objects_that_change_between_listing_and_reading_are_told(
    nights: Nights, s3_server: Any, place: dict[str, Any], clean: Any
) -> None:
    pid = nights.prepare(**place | {"lease_s": 30})
    s3_server.order({"kind": "delay", "method": "GET", "path": "/in/00", "seconds": 2, "times": 1})
    nights.go(pid)
    until(lambda: any("/in/00" in path for _, path, _ in s3_server.requests()))
    write_atomic(f"{place['input']}/20.png", b"overwritten")
    delete(f"{place['input']}/19.png")
    write_atomic(f"{place['input']}/late.png", b"no picture either")
    assert nights.wait(pid) == 0
    changed = {"20.png": ("superseded", "changed", None), "19.png": ("deleted", "deleted", None)}
    assert published(place) == clean | changed
    assert nights.run(**place | {"run": "next"}) == 0
    rows = TranscriptTable(place["output"]).rows()
    assert rows is not None
    found = rows.to_table().to_pylist()
    assert sorted(r["key"] for r in found if r["run"] == "next") == ["20.png", "late.png"]
