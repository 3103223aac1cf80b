"""Arrow schemas of everything that the pipeline keeps, each with a name and a version of its own."""

import pyarrow as pa

from pipeline.errors import DataError

NAME, VERSION = b"crnn.schema", b"crnn.version"


def _schema(name: str, version: int, fields: list[pa.Field]) -> pa.Schema:
    return pa.schema(fields, metadata={NAME: name.encode(), VERSION: str(version).encode()})


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


SAMPLE_SCHEMA = _schema(
    "sample",
    1,
    [
        _required("id", pa.string()),
        _required("image", pa.binary()),
        _required("text", pa.string()),
        _required("width", pa.int32()),
        _required("height", pa.int32()),
        _required("source", pa.string()),
        pa.field("split", pa.string()),
        pa.field("lexicon", pa.list_(pa.string())),
        pa.field("face", pa.int32()),
        pa.field("effects", pa.int64()),
        pa.field("text_height", pa.float32()),
        pa.field("contrast", pa.float32()),
        pa.field("noise", pa.float32()),
        pa.field("quality", pa.int32()),
        pa.field("draw", pa.int32()),
    ],
)
"""A word image with its text.

id: unique in its data set. image: encoded bytes. width, height: pixels. source: the set or generator it
comes from. lexicon: the words it may be, where the set gives them. face to draw: what a generator drew,
effects as a bit mask, text_height in pixels, contrast and noise in grey levels of 0–255, quality as JPEG's,
draw the number of the attempt.
"""

REJECT_SCHEMA = _schema(
    "reject",
    1,
    [
        _required("id", pa.string()),
        _required("source", pa.string()),
        pa.field("text", pa.string()),
        _required("reason", pa.string()),
        pa.field("detail", pa.string()),
    ],
)
"""A sample that was read and not kept: reason in one stable word, detail for a person."""

LISTING_SCHEMA = _schema(
    "listing",
    4,
    [
        _required("input_id", pa.string()),
        _required("uri", pa.string()),
        _required("member", pa.string()),
        _required("key", pa.string()),
        _required("etag", pa.string()),
        _required("size", pa.int64()),
        pa.field("position", pa.int64()),
        pa.field("box", pa.list_(pa.float64())),
        _required("modified", pa.timestamp("us", "UTC")),
        pa.field("unfit", pa.string()),
        pa.field("unfit_detail", pa.string()),
        _required("earlier_rows", pa.int32()),
        _required("gone", pa.bool_()),
    ],
)
"""An image that a run owes a row. input_id: from (uri, etag, size, member), so that a new version has a new
one. member, position, box: which part of the object it is, see `pipeline.inputs.items`; empty and null for
all of it. unfit, unfit_detail: why it can't be read, where that is known already. earlier_rows: how many
it has had before. gone: it was there once and is no longer."""

ALTERNATIVE = pa.struct([("text", pa.string()), ("log_prob", pa.float32()), ("confidence", pa.float32())])
"""log_prob over all alignments, or of the share where a language model read; confidence: its share among all
texts that beam search held in the end."""

TRANSCRIPT_SCHEMA = _schema(
    "transcript",
    3,
    [
        _required("id", pa.string()),
        _required("input_id", pa.string()),
        _required("uri", pa.string()),
        _required("member", pa.string()),
        _required("key", pa.string()),
        _required("etag", pa.string()),
        _required("size", pa.int64()),
        pa.field("position", pa.int64()),
        pa.field("box", pa.list_(pa.float64())),
        _required("status", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("text", pa.string()),
        pa.field("log_prob", pa.float32()),
        pa.field("confidence", pa.float32()),
        pa.field("alternatives", pa.list_(ALTERNATIVE)),
        pa.field("shadow_text", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        _required("model_name", pa.string()),
        _required("model_version", pa.string()),
        _required("model_digest", pa.string()),
        _required("decoder_version", pa.int32()),
        _required("publication", pa.int64()),
        _required("recognised_at", pa.timestamp("us", "UTC")),
    ],
)
"""What became of an image. id: of its object's version, its part of it, the model, the decoder and how many
rows it had before, unique in the table. uri, member: an object and the part of it that is this image,
empty for all of it: a member of an archive (position is its first byte, or the row of a Parquet file) or
a box on a page (x, y of its corners). status: ok or low_confidence with text, log_prob, confidence, the
upright image's width and height in pixels and, where asked for, alternatives (other texts, likeliest
first) and shadow_text (what another model read of it); quarantined (it can't be read), superseded
(overwritten before it was read; the next run reads what is there now) or deleted, with a reason in one
stable word and a detail for a person. publication: the run's place among all that are published; of
several rows of one uri and member, the highest's is current."""


def version(schema: pa.Schema) -> int:
    """The version that a schema of this module carries."""
    return int(schema.metadata[VERSION])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the schema's columns, order and types; nullable ones it lacks become null.

    Raises:
        DataError: A required column is missing or holds nulls, one is unknown, or a value doesn't fit.
    """
    name = schema.metadata[NAME].decode()
    unknown = sorted(set(table.column_names) - set(schema.names))
    missing = [f.name for f in schema if not f.nullable and f.name not in table.column_names]
    if unknown or missing:
        raise DataError(f"Not a table of {name}s: columns missing {missing}, unknown {unknown}.")
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table[field.name]
        if not field.nullable and column.null_count:
            raise DataError(
                f"Column {field.name} of {name}s holds {column.null_count} nulls; none are allowed."
            )
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowException as error:
            raise DataError(f"Column {field.name} of {name}s isn't {field.type}: {error}.") from error
    return pa.Table.from_arrays(columns, schema=schema)


def check(found: pa.Schema, expected: pa.Schema, where: str) -> None:
    """Refuses data of another schema, or of another version of it.

    Raises:
        DataError: Naming both and the place.
    """
    names = [(s.metadata or {}).get(NAME, b"none").decode() for s in (found, expected)]
    versions = [(s.metadata or {}).get(VERSION, b"none").decode() for s in (found, expected)]
    if names[0] != names[1] or versions[0] != versions[1]:
        raise DataError(
            f"{where} holds {names[0]} version {versions[0]}; this code reads {names[1]} version "
            f"{versions[1]}. Make the data again with this version, or use the version that made it."
        )
