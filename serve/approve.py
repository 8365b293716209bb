"""Approves what another operator asked for: `python -m serve.approve request=ID`. Without values it lists what waits.

`python -m serve.approve require=[promote,withdraw]` makes promotions and recalls wait for a second operator.

Examples:
    python -m serve.approve
    python -m serve.approve require=[promote,withdraw]
    python -m serve.approve request=ID
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from serve.releases.audit.approvals import Approvals
from serve.releases.registry import ReleaseRegistry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Sets what needs a second approval (`require`), approves a `request`, or lists what waits."""
    approvals = Approvals(ReleaseRegistry.of(Folder.of(config.storage.root)).folder)
    if config.require is not None:
        approvals.require(config.require)
    elif config.request is not None:
        request = approvals.approve(config.request)
        print(f"approve: {request.by} may now run it again ({request})")
    required, waiting = approvals.required(), approvals.waiting()
    print(f"approve: a second operator is needed for {', '.join(required) or 'nothing'}")
    for request in waiting:
        state = f"approved by {request.approved_by}" if request.approved_by else "waits"
        print(f"  {request.id} {request}: asked for by {request.by} at {request.at[:16]}, {state}")
    return {"require": required, "waiting": [request.id for request in waiting if request.approved_by is None]}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.approve")
