"""An endpoint of one replica, without a guard, for benchmarks that compare it with itself."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.benchmarks.bench_serve import ROOT, check
from tests.benchmarks.harness.servers import free_port, server
from tests.benchmarks.harness.tables import FOLDER


@contextmanager
def one_replica(
    name: str, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Runs `serve.run` on the release of `tests.benchmarks.bench_serve.released`; yields its address.

    Args:
        name: Of the file of its output, under var/bench.
        environment: Further environment variables.
    """
    port = free_port()
    fixed = [f"storage.root={ROOT}", f"serve.port={port}", "serve.timeout_ms=2000", "guard.enabled=false"]
    fixed += ["serve.ingress.min_replicas=1", "serve.ingress.max_replicas=1"]
    with server("serve.run", [*fixed, *overrides], port, FOLDER / f"{name}.log", environment) as address:
        check(address, ())
        yield address
