"""Avro: container files, which carry their schema, or single records as Confluent frames them, after a schema's id.

https://avro.apache.org/docs/1.12.0/specification/ says how a file and a record are written, and
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/ what comes before a record.
"""

import io
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from data.artifacts.errors import ConfigError, one_line
from serve.api.events.json_payloads import Unreadable, as_objects
from serve.api.limits import MAX_EVENTS

FILE, FRAMED = b"Obj\x01", b"\x00"
"""How a container file begins, and a record after the id of its schema."""

FRAME = 5
"""Bytes before a framed record: a zero, and the id in four bytes, the most significant first."""


class AvroReader:
    """Reads the events of messages.

    Args:
        schemas: by id, the file of each schema (.avsc) by which framed records are written.

    Raises:
        ConfigError: fastavro is missing, or a schema cannot be read.
    """

    def __init__(self, schemas: Mapping[int, str]) -> None:
        try:
            import fastavro
        except ImportError as e:
            raise ConfigError("ingest.format: avro needs fastavro: pip install 'twotower-ray[kafka]'") from e
        self._avro, self._schemas = fastavro, {}
        for number, path in schemas.items():
            try:
                self._schemas[number] = fastavro.schema.load_schema(path)
                _refuse_arrays(self._schemas[number])
            except Exception as e:  # fastavro raises whatever its parser stumbles over
                raise ConfigError(f"ingest.schemas: {number}: {path} is no schema of events: {one_line(e)}") from e

    def __call__(self, value: bytes) -> list[bytes]:
        """The events of a message; raises Unreadable."""
        try:
            return as_objects(self._records(value))
        except Unreadable:
            raise
        except Exception as e:  # fastavro raises whatever its decoder stumbles over
            raise Unreadable(f"it is no Avro: {one_line(e) or type(e).__name__}") from e

    def _records(self, value: bytes) -> Iterable[Any]:
        if value.startswith(FILE):
            reader = self._avro.reader(io.BytesIO(value))
            if reader.codec != "null":
                raise Unreadable(f"its codec is {reader.codec}: write it without one, and let Kafka compress messages")
            _refuse_arrays(reader.writer_schema)
            return islice(reader, MAX_EVENTS + 1)
        if value.startswith(FRAMED) and len(value) > FRAME:
            number, stream = int.from_bytes(value[1:FRAME], "big"), io.BytesIO(value[FRAME:])
            if number not in self._schemas:
                known = ", ".join(map(str, self._schemas)) or "none"
                raise Unreadable(f"its schema has the id {number}, and ingest.schemas knows {known}")
            record = self._avro.schemaless_reader(stream, self._schemas[number])
            if stream.read(1):
                raise Unreadable(f"it goes on after its record: it was not written by schema {number}")
            return [record]
        raise Unreadable("it is neither an Avro container file nor a record after the id of its schema")


def _refuse_arrays(schema: Any) -> None:
    """Events have no lists, and one of empty values takes no bytes, however long it says that it is."""
    if isinstance(schema, list):
        for each in schema:
            _refuse_arrays(each)
    elif isinstance(schema, dict):
        if schema.get("type") == "array":
            raise Unreadable("its schema has an array, which no event has")
        for name in ("type", "fields", "values"):
            _refuse_arrays(schema.get(name))
