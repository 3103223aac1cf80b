"""Archives that were made to do harm: none takes more memory or time than an honest one, and each is told."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import TransientStorageError
from pipeline.inputs import items as bounds
from pipeline.inputs import listed
from pipeline.inputs.archives import open_archive
from pipeline.inputs.items import Member
from pipeline.inputs.listed import items
from pipeline.inputs.range_file import RangeFile
from pipeline.storage import stat, write_atomic
from tests.pipeline.inputs.test_archives import FILES, found, packed, read, tar, tgz

MIB = 1 << 20


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header that may claim any size."""
    data = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    data[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    data[156:157] = kind
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


def zeros(start: bytes, mib: int) -> bytes:
    """A gzip file that begins so, and goes on with zeros."""
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(start), *(packer.compress(bytes(MIB)) for _ in range(mib)), packer.flush()]
    return b"".join(parts)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a small bomb breaks."""
    monkeypatch.setattr(bounds, "INFLATED_FREE", 4 * MIB)
    monkeypatch.setattr(bounds, "INFLATED_RATIO", 10)


def frugally(uri: str) -> list[Member]:
    """Looks an archive through, which may hold no more than a few blocks of it at any time."""
    tracemalloc.start()
    try:
        members = found(uri)
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()
    return members


def kinds(members: list[Member]) -> list[str | None]:
    return [member.unfit for member in members]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("size", [63 * MIB, 8 << 30, 1 << 62])
def test_a_member_that_inflates_too_far_is_refused_before_it_is_inflated(tmp_path: Path, size: int) -> None:
    begun = tar({"x.png": b"x"})[:1536]  # a folder, a member; no end
    write_atomic(f"{tmp_path}/x.tgz", zeros(begun + header("bomb.png", size), 64))
    sound, bomb, rest = frugally(f"{tmp_path}/x.tgz")
    assert (sound.name, sound.unfit) == ("x.png", None)
    assert (bomb.name, bomb.unfit, rest.name, rest.unfit) == ("bomb.png", "archive_bomb", "", "archive_bomb")
    assert "Unpack it" in str(rest.detail)
    assert read(f"{tmp_path}/x.tgz", [sound]) == [b"x"]


@pytest.mark.usefixtures("few")
def test_what_inflates_without_end_behind_the_last_member_is_told(tmp_path: Path) -> None:
    write_atomic(f"{tmp_path}/x.tgz", zeros(tar({"x.png": b"x"}), 64))
    assert kinds(frugally(f"{tmp_path}/x.tgz")) == [None, "archive_bomb"]


@pytest.mark.usefixtures("few")
def test_members_of_a_zip_that_share_their_bytes_are_bounded_together(tmp_path: Path) -> None:
    """Two hundred entries of 1 MiB lead to one compressed member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", bytes(MIB))
        first = archive.infolist()[0]
        for number in range(1, 200):
            again = zipfile.ZipInfo(f"{number}.png")
            for name in ("header_offset", "file_size", "compress_size", "CRC", "compress_type"):
                setattr(again, name, getattr(first, name))
            archive.filelist.append(again)
    write_atomic(f"{tmp_path}/x.zip", buffer.getvalue())
    told = kinds(found(f"{tmp_path}/x.zip"))
    assert len(told) == 200
    assert told[:4] == [None] * 4
    assert set(told[8:]) == {"archive_bomb"}


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize("packed_up", [False, True])
def test_a_header_that_claims_to_be_endless_is_not_read(tmp_path: Path, kind: bytes, packed_up: bool) -> None:
    start = tar({"x.png": b"x"})[:1536] + header("long", 40 * MIB, kind)
    uri = f"{tmp_path}/x.tgz" if packed_up else f"{tmp_path}/x.tar"
    write_atomic(uri, zeros(start, 41) if packed_up else start + bytes(41 * MIB))
    members = frugally(uri)
    assert kinds(members) == [None, "damaged_archive"]
    assert "header of more than" in str(members[-1].detail)


def test_headers_before_headers_before_headers_come_to_an_end(tmp_path: Path) -> None:
    nested = (header("n", 2, tarfile.GNUTYPE_LONGNAME) + b"n\0" + bytes(510)) * 5_000
    write_atomic(f"{tmp_path}/x.tar", tar({"x.png": b"x"})[:1536] + nested + tar({}))
    assert kinds(found(f"{tmp_path}/x.tar")) == [None, "damaged_archive"]


@pytest.mark.parametrize("size", [-512, -1024, -(1 << 40)])
def test_a_header_that_leads_back_is_the_end(tmp_path: Path, size: int) -> None:
    data = tar({"x.png": b"x"})[:1536] + header("back.png", size) + tar({"y.png": b"y"})
    write_atomic(f"{tmp_path}/x.tar", data)
    assert kinds(found(f"{tmp_path}/x.tar"))[-1] == "damaged_archive"


def test_many_members_of_one_name_are_numbered_in_their_order(tmp_path: Path) -> None:
    files = io.BytesIO()
    with tarfile.open(fileobj=files, mode="w") as archive:
        for _ in range(30_000):  # trying every number for each would take hours
            archive.addfile(tarfile.TarInfo("x.png"))
    write_atomic(f"{tmp_path}/x.tar", files.getvalue())
    names = [member.name for member in found(f"{tmp_path}/x.tar")]
    assert names == ["x.png", *(f"x.png ({number})" for number in range(2, 30_001))]


def test_an_archive_of_too_many_members_is_read_as_far_as_is_borne(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listed, "MOST_MEMBERS", 20)
    write_atomic(f"{tmp_path}/in/x.tgz", tgz(FILES))
    write_atomic(f"{tmp_path}/in/y.png", b"y")
    told = [(item.key, item.unfit) for item in items(f"{tmp_path}/in", None)]
    members = [(f"x.tgz/{name}", None) for name in list(FILES)[:20]]
    assert told == [*members, ("x.tgz", "too_many_members"), ("y.png", None)]


def test_an_index_larger_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.inputs.archives.LARGEST_INDEX", 1_000)
    write_atomic(f"{tmp_path}/x.zip", packed(FILES))
    (only,) = found(f"{tmp_path}/x.zip")
    assert only.unfit == "damaged_archive"
    assert "an index of" in str(only.detail)


def test_rows_that_share_one_large_image_are_decoded_one_by_one(tmp_path: Path) -> None:
    """A file of 16 MiB, of which the 64 rows that are usually decoded at a time are a gigabyte."""
    image = b"\x07" * (16 * MIB)
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array([image]))
    uri = f"{tmp_path}/x.parquet"
    pq.write_table(pa.table({"image": shared}), uri, dictionary_pagesize_limit=32 * MIB, store_schema=False)
    members = found(uri)
    archive, before = open_archive(RangeFile(uri, stat(uri).etag)), pa.total_allocated_bytes()
    for member in members[:3]:
        assert archive.read(member.name, int(member.position or 0), member.size) == image
        assert pa.total_allocated_bytes() - before < 300 * MIB


@pytest.mark.parametrize("where", [0, 5, 300, 40_000, -8, -1])
def test_a_compressed_tar_that_is_cut_short_keeps_what_lies_before(tmp_path: Path, where: int) -> None:
    write_atomic(f"{tmp_path}/x.tgz", tgz(FILES)[:where])
    *before, last = found(f"{tmp_path}/x.tgz")
    assert (last.name, last.unfit) == ("", "damaged_archive")
    results = read(f"{tmp_path}/x.tgz", before)
    assert results[:-1] == list(FILES.values())[: len(before)][:-1]
    assert not results or results[-1] in (list(FILES.values())[len(before) - 1], "damaged_archive")


def test_every_flipped_byte_of_a_compressed_tar_is_noticed(tmp_path: Path) -> None:
    """By what inflates it, by tar's own sums, or by the checksum at the end."""
    sound = tgz({name: data[:300] for name, data in list(FILES.items())[:5]})
    for place in range(12, len(sound), 23):  # the header's time and system mean nothing
        spoilt = bytearray(sound)
        spoilt[place] ^= 0x10
        write_atomic(f"{tmp_path}/x.tgz", bytes(spoilt))
        members = found(f"{tmp_path}/x.tgz")
        assert members[-1].unfit == "damaged_archive", place
        read(f"{tmp_path}/x.tgz", [member for member in members if member.unfit is None])


def test_members_behind_a_damaged_place_are_refused_and_those_before_it_read(tmp_path: Path) -> None:
    """Looked through while it was whole, and damaged since."""
    data = gzip.compress(tar(FILES), compresslevel=0)
    write_atomic(f"{tmp_path}/x.tgz", data)
    members = found(f"{tmp_path}/x.tgz")
    write_atomic(f"{tmp_path}/x.tgz", data[: len(data) // 2])
    results = read(f"{tmp_path}/x.tgz", members)
    kept = results.index("damaged_archive")
    assert 0.3 * len(FILES) < kept < 0.7 * len(FILES)
    assert results[:kept] == list(FILES.values())[:kept]
    assert set(results[kept:]) == {"damaged_archive"}
    assert read(f"{tmp_path}/x.tgz", [members[-1], members[0]]) == ["damaged_archive", results[0]]


def test_a_compressed_tar_is_fetched_once_for_members_in_their_order(s3_server: Any, s3_bucket: str) -> None:
    files = {f"{number}.png": bytes([number]) * 300_000 for number in range(8)}
    data = gzip.compress(tar(files), compresslevel=0)
    write_atomic(f"{s3_bucket}/x.tgz", data)
    archive = open_archive(RangeFile(f"{s3_bucket}/x.tgz", stat(f"{s3_bucket}/x.tgz").etag))
    members = list(archive.members())
    s3_server.order()
    for member in members:
        assert archive.read(member.name, int(member.position or 0), member.size) == files[member.name]
    assert len([path for method, path, _ in s3_server.requests() if method == "GET"]) < len(members)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_of_a_zip_is_refused_however_it_was_packed(tmp_path: Path, kind: int) -> None:
    sound = packed({"x.png": FILES["a/007.png"], "y.png": b"y"}, kind)
    place = sound.index(b"x.png") + 40
    write_atomic(f"{tmp_path}/x.zip", sound[:place] + bytes(200) + sound[place + 200 :])
    members = found(f"{tmp_path}/x.zip")
    assert read(f"{tmp_path}/x.zip", members) == ["damaged_archive", b"y"]


def test_a_zip_that_lacks_its_beginning_is_told_member_by_member(tmp_path: Path) -> None:
    write_atomic(f"{tmp_path}/x.zip", packed(FILES)[1_000:])
    members = found(f"{tmp_path}/x.zip")
    assert {member.unfit for member in members} <= {None, "damaged_archive"}
    assert "damaged_archive" in kinds(members)
    readable = [member for member in members if member.unfit is None]
    assert set(map(type, read(f"{tmp_path}/x.zip", readable))) <= {bytes, str}


def test_names_of_nothing_are_names_of_members_all_the_same(tmp_path: Path) -> None:
    data = packed({"n.png": b"x", "a.png": b"a"}).replace(b"n.png", b"\0.png")
    write_atomic(f"{tmp_path}/x.zip", data)
    told = [(m.name, m.unfit) for m in found(f"{tmp_path}/x.zip")]
    assert told == [("\0.png", "unsafe_name"), ("a.png", None)]
    write_atomic(f"{tmp_path}/x.tar", header("", 0) + tar({"a.png": b"a"}))
    assert [m.name for m in found(f"{tmp_path}/x.tar")] == ["(no name)", "a.png"]


@pytest.mark.parametrize("size", [1 << 49, (1 << 63) - 100, 1 << 70])
def test_sizes_that_can_not_be_are_bounded(tmp_path: Path, size: int) -> None:
    claimed = tar({"x.png": b"x"})[:1536] + header("huge.png", size)
    write_atomic(f"{tmp_path}/in/x.tar", claimed)
    write_atomic(f"{tmp_path}/in/y.tgz", gzip.compress(claimed))
    told = list(items(f"{tmp_path}/in", None))
    assert all(0 <= item.size <= bounds.LARGEST for item in told)
    assert [item.unfit for item in told if item.member == "x.png"] == [None, None]
    assert {item.unfit for item in told if item.member == "huge.png"} == {"damaged_archive", "archive_bomb"}


@pytest.mark.parametrize("error", [IndexError("x"), OverflowError(), struct.error("y"), OSError("z")])
def test_whatever_a_parser_stumbles_over_is_the_archives_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def stumble(*_: object) -> None:
        raise error

    write_atomic(f"{tmp_path}/x.zip", packed(FILES))
    members = found(f"{tmp_path}/x.zip")
    monkeypatch.setattr(zipfile.ZipFile, "open", stumble)
    assert set(read(f"{tmp_path}/x.zip", members)) == {"damaged_archive"}
    monkeypatch.setattr(zipfile.ZipFile, "infolist", stumble)
    assert kinds(found(f"{tmp_path}/x.zip")) == ["damaged_archive"]


def test_storages_faults_are_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_reach(*_: object) -> None:
        raise TransientStorageError("out of reach")

    write_atomic(f"{tmp_path}/x.zip", packed(FILES))
    archive = open_archive(RangeFile(f"{tmp_path}/x.zip", stat(f"{tmp_path}/x.zip").etag))
    monkeypatch.setattr(RangeFile, "read", out_of_reach)
    with pytest.raises(TransientStorageError):
        list(archive.members())
    with pytest.raises(TransientStorageError):
        archive.read("a/000.png", 0, 1)
