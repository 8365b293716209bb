"""How many messages wait for a process that takes events: those that it has not read, and those that it holds."""

import time
from contextlib import suppress
from typing import Any

ASK_S = 1.0
"""Seconds that the brokers have, for all partitions together, to say where these end."""


def lag_of(consumer: Any, num_held: int = 0) -> int:
    """Messages that wait in the partitions of a consumer of confluent-kafka, as far as the brokers have said.

    Args:
        num_held: Messages that it has read, and holds because the store does not answer. Where there are some, the
            brokers are asked: while nothing is read, they do not say by themselves what has come.
    """
    ends, lag = time.monotonic() + ASK_S, num_held
    for at in consumer.position(consumer.assignment()):
        low, high = _watermarks(consumer, at, ends if num_held else 0.0)
        lag += max(high - (at.offset if at.offset >= 0 else low), 0) if high >= 0 else 0
    return lag


def _watermarks(consumer: Any, partition: Any, ends: float) -> tuple[int, int]:
    """The offsets between which a partition has messages: as asked by a moment, or else as they were said last."""
    from confluent_kafka import KafkaException

    if (left_s := ends - time.monotonic()) > 0:
        with suppress(KafkaException):  # the lag is told as far as it is known
            if (found := consumer.get_watermark_offsets(partition, timeout=left_s)) is not None:
                return found[0], found[1]
    low, high = consumer.get_watermark_offsets(partition, cached=True)
    return low, high
