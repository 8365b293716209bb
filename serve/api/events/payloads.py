"""What Kafka messages hold: one event as a JSON object, or some as an Avro container file or an Arrow IPC stream.

Whatever the format, events become the JSON of `POST /v1/events`, so that all are checked alike.
"""

from collections.abc import Callable

from serve.api.events.json_payloads import read_json
from serve.events.ingest_config import IngestConfig, PayloadFormat

PayloadReader = Callable[[bytes], list[bytes]]
"""Returns the events of a message, each as a JSON object. Raises Unreadable where it has none, or too many."""


def payload_reader(config: IngestConfig) -> PayloadReader:
    """The reader of the config's format.

    Raises:
        ConfigError: a library is missing, or a schema cannot be read.
    """
    if config.format is PayloadFormat.avro:
        from serve.api.events.avro_payloads import AvroReader

        return AvroReader(config.schemas)
    if config.format is PayloadFormat.arrow:
        from serve.api.events.arrow_payloads import read_arrow

        return read_arrow
    return read_json
