import gzip
import io
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crnn.errors import ImageRejectedError
from pipeline.errors import TransientStorageError
from pipeline.inputs.archives import is_archive, open_archive
from pipeline.inputs.items import Member
from pipeline.inputs.range_file import RangeFile
from pipeline.storage import stat, write_atomic

FILES = {
    f"a/{number:03d}.png": random.Random(number).randbytes(1 + 997 * number % 5_000) for number in range(60)
}


def tar(files: dict[str, bytes], change: Callable[[tarfile.TarFile], None] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        if change:
            change(archive)
    return buffer.getvalue()


def tgz(files: dict[str, bytes]) -> bytes:
    return gzip.compress(tar(files))


def in_parts(data: bytes) -> bytes:
    """As parallel compressors write it, and tapes fill it up."""
    return b"".join(gzip.compress(data[at : at + 50_001]) for at in range(0, len(data), 50_001)) + bytes(777)


def packed(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        archive.mkdir("a")
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def parquet(files: dict[str, bytes], **options: Any) -> bytes:
    buffer = io.BytesIO()
    images = [{"bytes": data, "path": name} for name, data in files.items()]
    pq.write_table(
        pa.table({"label": list(files), "image": images}), buffer, **{"row_group_size": 7, **options}
    )
    return buffer.getvalue()


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "disk" else str(request.getfixturevalue("s3_bucket"))


def opened(uri: str, data: bytes | None = None) -> RangeFile:
    if data is not None:
        write_atomic(uri, data)
    return RangeFile(uri, stat(uri).etag)


def found(uri: str) -> list[Member]:
    return list(open_archive(opened(uri)).members())


def read(uri: str, members: list[Member]) -> list[bytes | str]:
    archive, results = open_archive(opened(uri)), []
    for member in members:
        assert member.position is not None
        try:
            results.append(archive.read(member.name, member.position, member.size))
        except ImageRejectedError as error:
            results.append(error.reason)
    return results


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.tar", tar(FILES)),
        ("x.tar.gz", gzip.compress(tar(FILES))),
        ("x.TGZ", in_parts(tar(FILES))),
        ("x.ZIP", packed(FILES)),
        ("stored.zip", packed(FILES, zipfile.ZIP_STORED)),
        ("x.parquet", parquet(FILES)),
    ],
)
def test_every_member_is_found_and_read_in_any_order(place: str, name: str, data: bytes) -> None:
    write_atomic(f"{place}/{name}", data)
    members = found(f"{place}/{name}")
    names = list(FILES) if "parquet" not in name else [f"row {row}" for row in range(len(FILES))]
    assert [member.name for member in members] == names
    assert not any(member.unfit for member in members)
    assert read(f"{place}/{name}", members) == list(FILES.values())
    assert read(f"{place}/{name}", members[::-1]) == list(FILES.values())[::-1]
    assert read(f"{place}/{name}", members[40:50:3]) == list(FILES.values())[40:50:3]


@pytest.mark.parametrize(("name", "make"), [("x.tar", tar), ("x.tgz", tgz), ("x.zip", packed)])
def test_names_that_lead_out_are_told_and_those_that_repeat_are_made_unique(
    tmp_path: Path, name: str, make: Callable[[dict[str, bytes]], bytes]
) -> None:
    names = ["ok.png", "../up.png", "/root.png", "a/../../up.png", "C:/x.png", "..\\up.png", "größe/é.png"]
    data = make(dict.fromkeys(names, b"x"))
    write_atomic(f"{tmp_path}/{name}", data)
    unfit = {member.name: member.unfit for member in found(f"{tmp_path}/{name}")}
    assert {key for key, reason in unfit.items() if reason is None} == {"ok.png", "größe/é.png"}
    assert set(unfit.values()) == {None, "unsafe_name"}


def test_the_same_name_twice_is_two_members(tmp_path: Path) -> None:
    def again(archive: tarfile.TarFile) -> None:
        for _ in range(2):
            entry = tarfile.TarInfo("x.png")
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"new"))

    write_atomic(f"{tmp_path}/x.tar", tar({"x.png": b"old"}, again))
    members = found(f"{tmp_path}/x.tar")
    assert [member.name for member in members] == ["x.png", "x.png (2)", "x.png (3)"]
    assert read(f"{tmp_path}/x.tar", members) == [b"old", b"new", b"new"]


def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    def add(archive: tarfile.TarFile) -> None:
        for kind, name in ((tarfile.SYMTYPE, "link.png"), (tarfile.CHRTYPE, "device.png")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)

    write_atomic(f"{tmp_path}/x.tar", tar({"x.png": b"x"}, add))
    assert [member.unfit for member in found(f"{tmp_path}/x.tar")] == [None, "not_a_file", "not_a_file"]


@pytest.mark.parametrize("where", [0, 100, 700, 20_000, 60_000])
def test_a_tar_that_is_cut_short_tells_where_and_keeps_what_lies_before(tmp_path: Path, where: int) -> None:
    write_atomic(f"{tmp_path}/x.tar", tar(FILES)[:where])
    *before, last = found(f"{tmp_path}/x.tar")
    assert (last.name, last.unfit) == ("", "damaged_archive")
    assert f"{tmp_path}/x.tar" in str(last.detail)
    sound = [member for member in before if member.unfit is None]
    assert len(before) - len(sound) <= 1
    assert read(f"{tmp_path}/x.tar", sound) == list(FILES.values())[: len(sound)]


def test_damage_in_the_middle_of_a_tar_is_not_its_end(tmp_path: Path) -> None:
    data = bytearray(tar(FILES))
    data[30_208 : 30_208 + 20_000] = b"\xff" * 20_000
    write_atomic(f"{tmp_path}/x.tar", bytes(data))
    *before, last = found(f"{tmp_path}/x.tar")
    assert (last.name, last.unfit) == ("", "damaged_archive")
    assert 0 < len(before) < len(FILES)


@pytest.mark.parametrize(("name", "data"), [("x.zip", packed(FILES)), ("x.parquet", parquet(FILES))])
def test_an_archive_whose_index_is_lost_is_one_rejection(tmp_path: Path, name: str, data: bytes) -> None:
    for cut in (data[: len(data) // 2], b"", b"no archive"):
        write_atomic(f"{tmp_path}/{name}", cut)
        (only,) = found(f"{tmp_path}/{name}")
        assert (only.name, only.unfit) == ("", "damaged_archive")
        assert name in str(only.detail)


def test_damaged_members_are_rejected_and_the_others_read(tmp_path: Path) -> None:
    for name, data in (
        ("x.zip", packed(FILES, zipfile.ZIP_STORED)),
        ("x.parquet", parquet(FILES, write_page_checksum=True, compression="zstd")),
    ):
        spoilt = bytearray(data)
        middle = len(data) // 2
        spoilt[middle : middle + 40] = bytes(40)
        write_atomic(f"{tmp_path}/{name}", bytes(spoilt))
        results = read(f"{tmp_path}/{name}", found(f"{tmp_path}/{name}"))
        wrong = [place for place, data in enumerate(FILES.values()) if results[place] != data]
        assert {results[place] for place in wrong} == {"damaged_archive"}
        assert 1 <= len(wrong) <= 14


def test_an_encrypted_member_is_told(tmp_path: Path) -> None:
    data = bytearray(packed({"x.png": b"secret"}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(mark) + place] |= 1
    write_atomic(f"{tmp_path}/x.zip", bytes(data))
    assert [member.unfit for member in found(f"{tmp_path}/x.zip")] == ["encrypted"]


def test_a_parquet_file_without_images_says_what_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"uri": ["x"]}), tmp_path / "x.parquet")
    (only,) = found(f"{tmp_path}/x.parquet")
    assert only.unfit == "no_images"
    assert "columns uri" in str(only.detail)
    pq.write_table(pa.table({"image": [b"bytes", None]}), tmp_path / "y.parquet")
    assert read(f"{tmp_path}/y.parquet", found(f"{tmp_path}/y.parquet")) == [b"bytes", "missing_image"]


def test_large_members_are_jumped_over(s3_server: Any, s3_bucket: str) -> None:
    """A member's header is 512 bytes: of 10 MB of members, little more than the headers is fetched."""
    files = {f"{number}.png": b"x" * 1_000_000 for number in range(10)}
    for name, data, most in (("x.tar", tar(files), 13), ("x.zip", packed(files, zipfile.ZIP_STORED), 3)):
        file = opened(f"{s3_bucket}/{name}", data)
        s3_server.order()
        assert len(list(open_archive(file).members())) == 10
        assert len(s3_server.requests()) <= most
    file = opened(f"{s3_bucket}/x.parquet", parquet(files, row_group_size=1))
    s3_server.order()
    assert len(list(open_archive(file).members())) == 10
    assert len(s3_server.requests()) <= 3


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.tar", tar(FILES)),
        ("x.tgz", tgz(FILES)),
        ("x.zip", packed(FILES)),
        ("x.parquet", parquet(FILES)),
    ],
)
def test_a_fault_of_storage_is_never_the_archives(
    s3_server: Any, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes
) -> None:
    monkeypatch.setenv("STORAGE_PATIENCE_S", "0.2")
    file = opened(f"{s3_bucket}/{name}", data)
    members = list(open_archive(file).members())
    s3_server.order({"kind": "status", "path": name})
    fresh = RangeFile(file.uri, file.etag, file.size)
    with pytest.raises(TransientStorageError):
        list(open_archive(fresh).members())
    assert members[0].position is not None
    with pytest.raises(TransientStorageError):
        open_archive(RangeFile(file.uri, file.etag, file.size)).read(
            members[0].name, members[0].position, members[0].size
        )


def test_archives_are_told_by_their_names() -> None:
    assert all(map(is_archive, ("a.tar", "a.tar.gz", "a.TGZ", "b/c.ZIP", "d.parquet")))
    assert not any(map(is_archive, ("a.tar.xz", "a.gz", "zip", "c.png", "d.csv")))
