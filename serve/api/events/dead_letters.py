"""Dead letters: messages that cannot be taken, written to a topic of their own, each with the reason in its headers."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from data.artifacts.errors import UserError

FLUSH_S = 30.0
"""Seconds that dead letters may take to be written."""

MAX_REASON_BYTES = 2048
"""Most bytes of a reason; the rest is left out."""

CUT_BYTES = (65_536, 0)
"""Bytes that are left of the value and the key of a message that the topic refuses as too large: first so many, and
where that is too large as well, none."""

WITHHELD = (
    "the message also holds what a user did who was forgotten since, which is kept nowhere: its value and its key are"
    " left out, and are where topic, partition and offset say, as long as that topic has them"
)
"""What the header `cut` says of a message with events of a user who was forgotten."""

Headers = list[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message to write, and how many of the steps of `CUT_BYTES` it has been cut by."""

    value: bytes
    key: bytes
    headers: Headers
    cuts: int = 0

    def shorter(self) -> "_Letter | None":
        """The letter cut by one step more, which its headers say; None if there is no such step."""
        return None if self.cuts == len(CUT_BYTES) else _Letter(self.value, self.key, self.headers, self.cuts + 1)

    def fields(self) -> dict[str, Any]:
        """The arguments for a producer."""
        if not self.cuts:
            return {"value": self.value, "key": self.key or None, "headers": self.headers}
        left = CUT_BYTES[self.cuts - 1]
        said = (
            f"the topic of dead letters refused the message as too large: it had {len(self.value)} bytes and a key of "
            f"{len(self.key)} bytes, and of each at most the first {left} are here"
        )
        return {"value": self.value[:left], "key": self.key[:left] or None, "headers": [*self.headers, ("cut", said)]}


class DeadLettersRefused(UserError, ConnectionError):
    """The topic of dead letters does not take messages."""


class DeadLetters:
    """Writes messages that cannot be taken to a topic.

    Args:
        producer: A producer of confluent-kafka.
        topic: Where the messages go.
    """

    def __init__(self, producer: Any, topic: str) -> None:
        self._producer, self._topic = producer, topic
        self._errors: list[str] = []
        self._too_large: list[_Letter] = []

    def send(self, message: Any, reason: str, is_withheld: bool = False) -> None:
        """Begins to write a message of confluent-kafka; `flush` says whether that has succeeded.

        Args:
            is_withheld: Whether its value and its key are left out, which its header `cut` then says.
        """
        headers: Headers = [
            ("reason", _cut(reason)),
            ("topic", message.topic()),
            ("partition", str(message.partition())),
            ("offset", str(message.offset())),
        ]
        if is_withheld:
            self._produce(_Letter(b"", b"", [*headers, ("cut", WITHHELD)]))
        else:
            self._produce(_Letter(message.value() or b"", message.key() or b"", headers))

    def flush(self) -> None:
        """Returns when all are written.

        Raises:
            DeadLettersRefused: The topic has refused some, or has not taken all of them within `FLUSH_S` seconds.
        """
        while True:
            left = self._producer.flush(FLUSH_S)
            if left:
                self._errors.append(f"{left} messages wait after {FLUSH_S:g} s")
            if self._errors:
                raise DeadLettersRefused(
                    f"ingest.dead: {self._topic} does not take messages ({self._errors[0]}); see that the topic "
                    "exists, that its brokers can be reached and that this process may write to it, then start "
                    "serve.ingest again: nothing is committed, so no message is lost"
                )
            if not self._too_large:
                return
            again, self._too_large = self._too_large, []
            for letter in again:
                self._produce(letter)

    def _produce(self, letter: _Letter) -> None:
        from confluent_kafka import KafkaException

        try:
            self._producer.produce(self._topic, **letter.fields(), on_delivery=partial(self._delivered, letter))
        except BufferError as e:  # the queue is full
            if not len(self._producer):
                self._errors.append(str(e))
                return
            self._producer.flush(FLUSH_S)
            self._produce(letter)
        except KafkaException as e:
            self._delivered(letter, e.args[0], None)

    def _delivered(self, letter: _Letter, error: Any, _: Any) -> None:
        """Records what became of a letter; librdkafka refuses some at once, and brokers refuse others later."""
        if error is None:
            return
        shorter = letter.shorter() if error.code() == error.MSG_SIZE_TOO_LARGE else None
        if shorter is None:
            self._errors.append(error.str())
        else:
            self._too_large.append(shorter)


def _cut(reason: str) -> bytes:
    """The reason in UTF-8, at most `MAX_REASON_BYTES` of it."""
    whole = reason.encode(errors="replace")
    if len(whole) <= MAX_REASON_BYTES:
        return whole
    return whole[: MAX_REASON_BYTES - 3].decode(errors="ignore").encode() + b"..."
