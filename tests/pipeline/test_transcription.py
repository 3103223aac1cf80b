"""Whole runs on a real Ray: every object one row, whatever it is, wherever it lies, whatever happens."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image, ImageDraw

from crnn.checkpoint import Bundle
from crnn.recognizer import Recognizer
from pipeline.errors import ObjectNotFoundError, UnpublishedError
from pipeline.lease import Lease, acquire
from pipeline.nightly.table import TranscriptTable
from pipeline.storage import list_objects, read_bytes, write_atomic
from pipeline.transcribe_config import TranscribeConfig
from pipeline.transcription import FAULTS_BORNE, ShardResult, transcribe
from pipeline.transcription_run import Transcription, begin, publish, run_name
from pipeline.transcripts import READ, Tally

# Ray Data warns of its own defaults.
pytestmark = pytest.mark.filterwarnings(r"ignore:.*is deprecated:DeprecationWarning:ray\.data\.context")


@pytest.fixture(scope="module")
def cluster(local_ray: None, s3_server: Any) -> Iterator[None]:
    """Ray is there, and this process reaches the S3 server as its workers do."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        patch.setenv("STORAGE_PATIENCE_S", "1")
        yield


@pytest.fixture(autouse=True)
def no_faults(s3_server: Any) -> Iterator[None]:
    """Ends the faults that a test ordered, however the test ends."""
    yield
    s3_server.order()


@pytest.fixture(scope="module")
def model(untrained_bundle: Path) -> str:
    return str(untrained_bundle)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def word(text: str, width: int = 80, mode: str = "L") -> Image.Image:
    image = Image.new("L", (width, 24), 230)
    ImageDraw.Draw(image).text((4, 6), text, 20)
    return image.convert(mode)


def good() -> dict[str, bytes]:
    """Ten pictures of several widths, and kinds that a naive reader gets wrong."""
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    deep = Image.fromarray(np.asarray(word("deep"), np.uint16) * 257)
    pictures = {f"plain {i}.png": encoded(word(f"word{i}", 40 + 17 * i), "PNG") for i in range(10)}
    return pictures | {
        "print/cmyk.jpg": encoded(word("cmyk", mode="CMYK"), "JPEG", quality=95),
        "scan/16 bit.png": encoded(deep, "PNG"),
        "phone/turned.jpg": encoded(word("turned").rotate(90, expand=True), "JPEG", exif=exif, quality=95),
        "misnamed.txt": encoded(word("really"), "PNG"),
    }


BAD = {
    "0 empty.png": (b"", "empty"),
    "garbage.bin": (np.random.default_rng(0).bytes(20 << 20), "not_an_image"),
    "plain 3 is text.png": (b"this is no picture\n" * 100, "not_an_image"),
    "speck.png": (encoded(word("x").resize((1, 1)), "PNG"), "too_small"),
    "ribbon.png": (encoded(Image.new("L", (30_000, 10)), "PNG"), "too_wide"),
    "print/cut.jpg": (encoded(Image.effect_noise((300, 40), 90), "JPEG", quality=95)[:4_000], "truncated"),
    "größe #1?%.png": (b"\x89PNG\r\n\x1a\nbroken", "not_an_image"),
}


def fill(folder_uri: str, contents: dict[str, bytes]) -> str:
    for key, data in contents.items():
        write_atomic(f"{folder_uri}/{key}", data)
    return folder_uri


@contextmanager
def started(config: TranscribeConfig) -> Iterator[tuple[Transcription, Lease]]:
    with acquire(config.output, run_name(config)) as lease:
        yield begin(config, run_name(config), lease), lease


def run(config: TranscribeConfig) -> tuple[list[ShardResult], Tally]:
    with started(config) as (job, lease):
        results = list(transcribe(job))
        return results, publish(job, lease)


def rows(config: TranscribeConfig) -> dict[str, dict[str, Any]]:
    """A run's published rows by key; a key that is there twice fails."""
    published = TranscriptTable(config.output).rows()
    assert published is not None
    table: pa.Table = published.to_table()
    table = table.filter(pc.equal(table["run"], config.run))
    found = {row["key"]: row for row in table.to_pylist()}
    assert len(found) == table.num_rows
    assert len(set(table["id"].to_pylist())) == table.num_rows
    return found


def texts(found: dict[str, dict[str, Any]]) -> dict[str, tuple[str, float]]:
    return {k: (r["text"], round(r["log_prob"], 3)) for k, r in found.items() if r["status"] in READ}


@pytest.fixture(scope="module")
def three(
    cluster: None, s3_server: Any, model: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, TranscribeConfig]:
    """The good pictures alone, the good among the bad, and the same from S3: three runs, done."""
    folder, bucket = str(tmp_path_factory.mktemp("runs")), s3_server.make_bucket("strange")
    mixed = good() | {key: data for key, (data, _) in BAD.items()}
    clean_uri, mixed_uri = fill(f"{folder}/clean", good()), fill(f"{folder}/mixed", mixed)
    s3_uri = fill(f"{bucket}/in", mixed)
    configs = [
        TranscribeConfig(input=clean_uri, output=f"{folder}/out", model=model, run="clean", shard_rows=5),
        TranscribeConfig(input=mixed_uri, output=f"{folder}/out 2", model=model, run="mixed", shard_rows=4),
        TranscribeConfig(input=s3_uri, output=f"{bucket}/out", model=model, run="s3", shard_rows=100),
    ]
    for config in configs:
        results, total = run(config)
        assert all(result.fault is None for result in results)
        assert total.rows == len(rows(config))
    return {str(config.run): config for config in configs}


def test_strange_files_leave_the_texts_of_the_others_alone(
    three: dict[str, TranscribeConfig], model: str
) -> None:
    recognizer = Recognizer.load(model)
    read = recognizer.recognise([recognizer.prepare(data).pixels for data in good().values()])
    alone = {key: (h.text, round(h.log_prob, 3)) for key, h in zip(good(), read, strict=True)}
    for config in three.values():
        assert texts(rows(config)) == alone


@pytest.mark.parametrize("name", ["mixed", "s3"])
def test_strange_files_get_a_row_each_with_their_reason(
    three: dict[str, TranscribeConfig], name: str
) -> None:
    found = rows(three[name])
    assert set(found) == set(good()) | set(BAD)
    reasons = {key: row["reason"] for key, row in found.items() if row["status"] not in READ}
    assert reasons == {key: reason for key, (_, reason) in BAD.items()}
    assert all(found[key]["detail"] for key in BAD)
    assert found["phone/turned.jpg"]["width"] == 80
    assert found["größe #1?%.png"]["uri"] == f"{three[name].input}/größe #1?%.png"


def test_what_is_published_holds_no_secret(three: dict[str, TranscribeConfig]) -> None:
    secrets = [os.environ["AWS_SECRET_ACCESS_KEY"].encode(), os.environ["AWS_ACCESS_KEY_ID"].encode()]
    for stored in list_objects(three["s3"].output):
        data = read_bytes(stored.uri)
        assert not any(secret in data for secret in secrets)


def test_a_fault_leaves_its_shard_for_the_next_start_which_does_only_that(
    cluster: None, s3_server: Any, model: str, tmp_path: Path
) -> None:
    bucket = s3_server.make_bucket("faulty")
    fill(f"{bucket}/in", good())
    config = TranscribeConfig(input=f"{bucket}/in", output=str(tmp_path), model=model, run="r", shard_rows=4)
    with started(config) as (job, lease):
        s3_server.order({"kind": "status", "path": "/in/plain 2.png"})
        first = {result.shard: result for result in transcribe(job)}
        s3_server.order()
        with pytest.raises(ObjectNotFoundError):
            publish(job, lease)
    (faulty,) = [result for result in first.values() if result.fault]
    assert "plain 2.png" in str(faulty.fault)
    assert "SlowDown" in str(faulty.fault)
    assert sum(result.rows for result in first.values()) == 10
    kept = {p.name: p.read_bytes() for p in (tmp_path / "table/run=r").iterdir()}
    assert not job.table.is_published("r")

    second, total = run(config)
    assert [result.shard for result in second] == [faulty.shard]
    assert total.rows == len(good())
    assert set(rows(config)) == set(good())
    assert kept.items() <= {p.name: p.read_bytes() for p in (tmp_path / "table/run=r").iterdir()}.items()


def test_what_changes_between_listing_and_reading_is_told(cluster: None, model: str, tmp_path: Path) -> None:
    source = fill(str(tmp_path / "in"), good())
    config = TranscribeConfig(input=source, output=str(tmp_path / "out"), model=model, run="r")
    with started(config) as (job, lease):
        (tmp_path / "in" / "plain 1.png").unlink()
        (tmp_path / "in" / "plain 2.png").write_bytes(b"overwritten")
        (tmp_path / "in" / "late.png").write_bytes(b"late")
        list(transcribe(job))
        publish(job, lease)
    found = rows(config)
    assert set(found) == set(good())
    assert (found["plain 1.png"]["reason"], found["plain 2.png"]["reason"]) == ("deleted", "changed")


def test_a_night_of_garbage_is_not_published_until_a_person_says_so(
    cluster: None, model: str, tmp_path: Path
) -> None:
    garbage = {f"{i:03d}.png": b"no picture" for i in range(30)}
    source = fill(str(tmp_path / "in"), garbage | good())
    config = TranscribeConfig(input=source, output=str(tmp_path / "out"), model=model, run="r")
    with pytest.raises(UnpublishedError, match=r"30 images can't be read, 68\.2%.*--max-quarantined 0\.05"):
        run(config)
    assert not TranscriptTable(config.output).is_published("r")
    results, total = run(replace(config, max_quarantined=0.7))
    assert (results, total.rows) == ([], 44)
    assert len(rows(config)) == 44


@pytest.mark.parametrize("contrast", [50.0, 0.0])
def test_a_night_that_misreads_its_canaries_is_held_back_and_a_shadow_model_reads_along(
    cluster: None, model: str, tmp_path: Path, contrast: float
) -> None:
    """Whatever contrast the model itself reads, a shadow of a later release has its own."""
    source, birds = fill(str(tmp_path / "in"), good()), tmp_path / "birds"
    fill(str(birds), {"0.png": encoded(word("canary"), "PNG"), "labels.tsv": b"path\ttext\n0.png\tcanary\n"})
    bundle = Bundle.load(model)
    weights = {
        name: -tensor if name.startswith("linears.1") else tensor for name, tensor in bundle.weights.items()
    }
    replace(bundle, weights=weights).save(tmp_path / "shadow")
    replace(bundle, preprocess=replace(bundle.preprocess, contrast=contrast)).save(tmp_path / "model")
    config = TranscribeConfig(
        input=source,
        output=str(tmp_path / "out"),
        model=str(tmp_path / "model"),
        run="r",
        shard_rows=5,
        canaries=f"{birds}/labels.tsv",
        shadow=str(tmp_path / "shadow"),
        shadow_share=1.0,
    )
    with pytest.raises(UnpublishedError, match=r"canaries' CER is .*Nothing is published"):
        run(config)
    results, total = run(replace(config, max_canary_cer=9.0, min_canary_confidence=0.0))
    assert results == []
    assert total.figures["canaries/words"] == 3  # one of each shard
    assert {"seconds/fetch", "seconds/decode", "seconds/recognise"} <= total.figures.keys()
    other = Recognizer.load(tmp_path / "shadow")
    wanted = {key: other([data])[0].text for key, data in good().items()}
    assert {key: row["shadow_text"] for key, row in rows(config).items()} == wanted
    assert any(row["shadow_text"] != row["text"] for row in rows(config).values())


def test_files_that_were_spoilt_before_they_were_published_stop_it(
    cluster: None, model: str, tmp_path: Path
) -> None:
    source = fill(str(tmp_path / "in"), good())
    config = TranscribeConfig(input=source, output=str(tmp_path / "out"), model=model, run="r", shard_rows=5)
    with started(config) as (job, lease):
        list(transcribe(job))
        spoilt = sorted((tmp_path / "out/table/run=r").iterdir())[1]
        spoilt.write_bytes(spoilt.read_bytes()[:-1])
        with pytest.raises(UnpublishedError, match=rf"{spoilt.name} isn't what shard 1 committed"):
            publish(job, lease)
    (tmp_path / "out/runs/r/done/000001.json").unlink()
    results, _ = run(config)
    assert [result.shard for result in results] == [1]
    assert set(rows(config)) == set(good())


def test_a_store_that_fails_for_good_is_given_up_soon(
    cluster: None, s3_server: Any, model: str, tmp_path: Path
) -> None:
    bucket = s3_server.make_bucket("dead")
    fill(f"{bucket}/in", {f"{i:03d}.png": b"x" for i in range(60)})
    config = TranscribeConfig(input=f"{bucket}/in", output=str(tmp_path), model=model, run="r", shard_rows=1)
    with started(config) as (job, _):
        s3_server.order({"kind": "status", "path": "/in/", "code": "AccessDenied", "status": 403})
        results = list(transcribe(job))
        s3_server.order()
    assert len(results) == FAULTS_BORNE
    assert all("AccessDenied" in str(result.fault) for result in results)
    assert not (tmp_path / "table").exists()
