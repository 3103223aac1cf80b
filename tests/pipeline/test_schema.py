import pyarrow as pa
import pytest

from pipeline.errors import DataError
from pipeline.schema import (
    LISTING_SCHEMA,
    REJECT_SCHEMA,
    SAMPLE_SCHEMA,
    TRANSCRIPT_SCHEMA,
    check,
    conform,
    version,
)

REQUIRED = {"id": ["a"], "image": [b"x"], "text": ["t"], "width": [3], "height": [4], "source": ["s"]}


def test_nullable_columns_may_be_missing_and_become_null() -> None:
    table = conform(pa.table(REQUIRED), SAMPLE_SCHEMA)
    assert table.schema.equals(SAMPLE_SCHEMA, check_metadata=True)
    assert table["lexicon"].null_count == 1
    assert table["width"].to_pylist() == [3]


def test_columns_are_put_in_order() -> None:
    turned = pa.table(dict(reversed(REQUIRED.items())))
    assert conform(turned, SAMPLE_SCHEMA).equals(conform(pa.table(REQUIRED), SAMPLE_SCHEMA))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": None}, "image"),
        ({"colour": ["red"]}, "colour"),
        ({"text": [None]}, "text"),
        ({"width": ["wide"]}, "width"),
        ({"width": [2**40]}, "width"),
    ],
)
def test_what_does_not_conform_is_refused_by_the_name_of_its_column(
    change: dict[str, list[object] | None], told: str
) -> None:
    columns = {name: values for name, values in (REQUIRED | change).items() if values is not None}
    with pytest.raises(DataError, match=told):
        conform(pa.table(columns), SAMPLE_SCHEMA)


def test_every_schema_has_a_name_and_a_version() -> None:
    schemas = [SAMPLE_SCHEMA, REJECT_SCHEMA, LISTING_SCHEMA, TRANSCRIPT_SCHEMA]
    assert len({schema.metadata[b"crnn.schema"] for schema in schemas}) == len(schemas)
    assert all(version(schema) >= 1 for schema in schemas)


def test_another_schema_or_another_version_is_refused_by_name() -> None:
    check(SAMPLE_SCHEMA, SAMPLE_SCHEMA, "here")
    with pytest.raises(DataError, match=r"here holds reject version 1; this code reads sample"):
        check(REJECT_SCHEMA, SAMPLE_SCHEMA, "here")
    newer = SAMPLE_SCHEMA.with_metadata(SAMPLE_SCHEMA.metadata | {b"crnn.version": b"9"})
    with pytest.raises(DataError, match="sample version 9"):
        check(newer, SAMPLE_SCHEMA, "here")
    with pytest.raises(DataError, match="none version none"):
        check(pa.schema([("id", pa.string())]), SAMPLE_SCHEMA, "here")
