"""Arrow: an IPC stream whose rows are events.

https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc and Message.fbs of
the same repository say how a stream is laid out; https://flatbuffers.dev/internals/ how its metadata is.
"""

import struct

import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.errors import one_line
from serve.api.events.json_payloads import Unreadable, as_objects
from serve.api.limits import MAX_EVENTS

HEADER_TYPE, HEADER = 1, 2
"""Fields of the table Message: what kind of message it is, and the message."""

DICTIONARY_BATCH, RECORD_BATCH = 2, 3
"""Codes of two kinds of messages in Arrow's IPC format."""

DATA, COMPRESSION = 1, 3
"""A dictionary batch's field with its record batch, and a record batch's with how its buffers are compressed."""


def read_arrow(value: bytes) -> list[bytes]:
    """The events of a message; raises Unreadable."""
    try:
        _refuse_compressed(value)
        with pa.ipc.open_stream(pa.BufferReader(value)) as stream:
            _refuse_lists(stream.schema)
            table = stream.read_all()
        if table.num_rows > MAX_EVENTS:
            raise Unreadable(f"it holds {table.num_rows} events, and a message may hold {MAX_EVENTS}")
        table.validate(full=True)
        return as_objects(_in_microseconds(table).to_pylist(maps_as_pydicts="strict"))
    except (pa.ArrowException, struct.error, OSError, KeyError, TypeError, UnicodeError) as e:
        raise Unreadable(f"it is no Arrow IPC stream: {one_line(e) or type(e).__name__}") from e


def _in_microseconds(table: pa.Table) -> pa.Table:
    """The table with times that Python can hold. A time without a zone stays without one, and is refused as such."""
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            type_ = pa.timestamp("us", field.type.tz)
            table = table.set_column(at, pa.field(field.name, type_), pc.cast(table[at], type_, safe=False))
    return table


def _refuse_lists(schema: pa.Schema) -> None:
    """Refuses lists, which events do not have: a list of nulls takes no bytes, whatever length it declares."""
    for field in schema:
        inner = [field.type.field(n).type for n in range(field.type.num_fields)]
        if pa.types.is_map(field.type):
            inner = [field.type.key_type, field.type.item_type]
        is_plain = not pa.types.is_nested(field.type) or pa.types.is_map(field.type) or pa.types.is_struct(field.type)
        if not is_plain or any(pa.types.is_nested(type_) for type_ in inner):
            raise Unreadable(f"{field.name}: {field.type} is no type of a field of events")


def _refuse_compressed(value: bytes) -> None:
    """Refuses compressed buffers: the message declares their size, so it could claim any amount of memory."""
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(value)):
        metadata = message.metadata.to_pybytes()
        root = struct.unpack_from("<I", metadata, 0)[0]
        kind = _field(metadata, root, HEADER_TYPE)
        header = _table(metadata, root, HEADER)
        if kind is not None and metadata[kind] == DICTIONARY_BATCH and header is not None:
            header = _table(metadata, header, DATA)
        elif kind is None or metadata[kind] != RECORD_BATCH:
            continue
        if header is not None and _field(metadata, header, COMPRESSION) is not None:
            raise Unreadable("its buffers are compressed: write them without, and let Kafka compress messages")


def _field(metadata: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table is; None where the table leaves it out."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", metadata, vtable)[0]:
        return None
    offset = struct.unpack_from("<H", metadata, vtable + place)[0]
    return table + int(offset) if offset else None


def _table(metadata: bytes, table: int, number: int) -> int | None:
    """Where the table is that a field of a table refers to."""
    field = _field(metadata, table, number)
    return None if field is None else field + int(struct.unpack_from("<I", metadata, field)[0])
