"""Messages that hold no events are told as such, whatever their bytes are."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.artifacts.errors import ConfigError
from serve.api.events.json_payloads import Unreadable
from serve.api.events.payloads import payload_reader
from serve.events.ingest_config import IngestConfig, PayloadFormat
from tests.serve.events.written_payloads import arrow, avro, event


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_garbage_is_unreadable_and_nothing_else(data: st.DataObject) -> None:
    readers = {PayloadFormat.avro: avro(event(1)), PayloadFormat.arrow: arrow(event(1), event(2))}
    format_ = data.draw(st.sampled_from(list(readers)))
    value = bytearray(readers[format_])
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    value = value[: data.draw(st.integers(0, len(value)))]
    with suppress(Unreadable):
        payload_reader(IngestConfig(format=format_))(bytes(value))


def test_a_schema_must_be_one_of_events(tmp_path: Path) -> None:
    listed = {"type": "record", "name": "E", "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}]}
    (tmp_path / "list.avsc").write_text(json.dumps(listed))
    for name, why in (("list.avsc", "its schema has an array"), ("away.avsc", "is no schema of events")):
        schemas = {1: str(tmp_path / name)}
        with pytest.raises(ConfigError, match=rf"ingest\.schemas: 1: .*{why}"):
            payload_reader(IngestConfig(format=PayloadFormat.avro, schemas=schemas))
    with pytest.raises(ConfigError, match=r"ingest\.schemas: .* are for ingest\.format=avro alone"):
        IngestConfig(schemas={1: "event.avsc"})
