"""Which members of an archive are images, by name, and which names are not to be followed."""

from datetime import UTC, datetime

import pytest

from pipeline.inputs.items import Item, is_safe, looks_like_an_image
from pipeline.stores import StoredObject

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("uri", "member", "is_image"),
    [
        ("s3://b/a.tar", "words/1.png", True),
        ("s3://b/a.tar", "words/1.JPG", True),
        ("s3://b/a.tar", "words/1.txt", False),
        ("s3://b/a.tar", "words/1", False),
        ("s3://b/a.zip", "__MACOSX/words/._1.png", False),
        ("s3://b/a.PARQUET", "17", True),
    ],
)
def test_members_are_told_by_their_names_and_rows_need_none(uri: str, member: str, is_image: bool) -> None:
    item = Item(uri=uri, key="a", etag="e", size=1, modified=WHEN, member=member)
    assert looks_like_an_image(item) == is_image


@pytest.mark.parametrize("name", ["a.png", "a/b.png", "a b/c..png", "...png", "ü/ß.png"])
def test_names_that_stay_below_their_folder_are_safe(name: str) -> None:
    assert is_safe(name)


@pytest.mark.parametrize(
    "name", ["", "/etc/a.png", "../a.png", "a/../../b.png", "..\\a.png", "C:\\a.png", "C:/a.png", "a\0.png"]
)
def test_names_that_may_lead_elsewhere_are_not(name: str) -> None:
    assert not is_safe(name)


def test_an_object_of_its_own_is_all_of_itself() -> None:
    stored = StoredObject(uri="s3://b/in/1.png", key="1.png", size=9, etag="e", modified=WHEN)
    item = Item.of(stored)
    assert (item.uri, item.key, item.etag, item.size) == ("s3://b/in/1.png", "1.png", "e", 9)
    assert (item.member, item.position, item.box, item.unfit) == ("", None, None, None)
