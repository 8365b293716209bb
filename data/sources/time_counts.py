"""How many interactions a log has at each of its times: counts that lie with Ray, of which the driver asks for facts.

There is a row for each second in which something happened, up to 31 million for a year.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from data.artifacts.errors import UserError

if TYPE_CHECKING:
    from ray import ObjectRef

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TimeCounts:
    """The counts by time, in Ray's object store.

    Attributes:
        table: columns `time` (distinct, sorted) and `count`, the number of positives at that time; int64.
    """

    table: "ObjectRef[pa.Table]"

    def ask(self, question: Callable[[pa.Table], T]) -> T:
        """What a function says of the table, which a Ray task calls with it.

        Raises:
            UserError: what the function raised. Other errors are Ray's, with their traceback.
        """
        import ray
        from ray.exceptions import RayTaskError

        try:
            answer: T = ray.get(ray.remote(_answer).remote(question, self.table))
        except RayTaskError as e:
            if isinstance(e.cause, UserError):
                raise e.cause from None
            raise
        return answer


def _answer(question: Callable[[pa.Table], T], table: pa.Table) -> T:
    return question(table)
