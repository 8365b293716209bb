"""Events as messages of Kafka hold them: as Avro and as Arrow."""

import io
from typing import Any

import fastavro
import pyarrow as pa

SCHEMA = {
    "type": "record",
    "name": "Event",
    "fields": [
        *({"name": name, "type": "string"} for name in ("event_id", "user_id", "item_id", "type")),
        {"name": "time", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
        {"name": "value", "type": ["null", "double"], "default": None},
        {"name": "context", "type": ["null", {"type": "map", "values": "string"}], "default": None},
    ],
}


def event(number: int, **fields: Any) -> dict[str, Any]:
    return {"event_id": f"e{number}", "user_id": "u", "item_id": f"i{number}", "type": "click"} | fields


def avro(*events: dict[str, Any], codec: str = "null") -> bytes:
    """A container file."""
    written = io.BytesIO()
    fastavro.writer(written, fastavro.parse_schema(SCHEMA), events, codec=codec)
    return written.getvalue()


def framed(number: int, event: dict[str, Any]) -> bytes:
    """A record as Confluent's serializer writes it."""
    written = io.BytesIO(b"\x00" + number.to_bytes(4, "big"))
    written.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(written, fastavro.parse_schema(SCHEMA), event)
    return written.getvalue()


def arrow(*events: dict[str, Any], compression: str | None = None, schema: pa.Schema | None = None) -> bytes:
    """An IPC stream."""
    written, table = pa.BufferOutputStream(), pa.Table.from_pylist(list(events), schema=schema)
    with pa.ipc.new_stream(written, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table)
    return bytes(written.getvalue())
