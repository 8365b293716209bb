"""Writes cluster.yaml, Kubernetes manifests and a Serve config of one and the same config: `python -m serve.manifests`.

    python -m serve.manifests storage.root=s3://bucket/twotower index.uri=http://milvus:19530 auth=keys
    kubectl apply -f var/manifests/kubernetes

Every override means what it means to the other commands: those of the training become the RayJob's, those of the
endpoint the RayService's. What cannot work together, such as more replicas than the nodes hold, is refused in one line.

Examples:
    python -m serve.manifests storage.root=s3://bucket/twotower index.uri=http://milvus:19530 auth=keys
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig

from conf.next_command import config_options
from conf.verbs import override_key, uses
from data.cluster.typed_commands import command
from serve.operations.fitting import notes_on_places
from serve.operations.kubernetes.deployed import Deployed
from serve.operations.written import files, write

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Writes the files, and says where."""
    options = in_the_image(config_options())
    texts = files(deployed(config, HydraConfig.get().overrides.task, options))
    paths = write(texts, Path(config.manifests.folder))
    for path in paths:
        print(path)
    for note in notes(config, options):
        print(f"note: {note}")
    print(f"Apply with: kubectl apply -f {config.manifests.folder}/kubernetes")
    print("The endpoint answers once a release is live: its replicas wait for python -m serve.promote")
    return {"files": [str(path) for path in paths]}


def notes(config: "Config", options: Sequence[str]) -> list[str]:
    """Returns what the image and the Secret must have, so that the training finds its log and its yaml files."""
    mounted = None if config.manifests.storage_claim is None else config.storage.root
    found = notes_on_places(config.data.places(), mounted, os.environ.get("DATASETS", ""), config.manifests.secret)
    if options:
        found.append(f"the training is started with {command(*options)}: the image must have that folder there")
    return found


def in_the_image(options: Sequence[str]) -> list[str]:
    """Returns the options with a folder below the present one by its path from here: an image is made of such a folder,
    at whatever place it has it.
    """
    here = Path.cwd()
    return [str(Path(each).relative_to(here)) if Path(each).is_relative_to(here) else each for each in options]


def deployed(config: "Config", overrides: Sequence[str], options: Sequence[str] = ()) -> Deployed:
    """Returns what the manifests are made of.

    Args:
        overrides: the command line's, of which the training and its publishing take those that they use.
        options: the arguments that say where yaml files of one's own lie in the image.
    """
    return Deployed(
        storage=config.storage,
        index=config.index,
        serve=config.serve,
        auth=config.auth,
        guard=config.guard,
        events=config.events.for_machines(),
        train=config.train,
        nodes=config.nodes,
        manifests=config.manifests,
        recipe=_used_by("towers.train", overrides),
        publish=_used_by("serve.publish", overrides, "checkpoint"),
        cycle=_used_by("serve.cycle", overrides),
        options=tuple(options),
    )


def _used_by(verb: str, overrides: Sequence[str], named: str | None = None) -> tuple[str, ...]:
    """The overrides that a command uses, where `named` is the field that tells it what it works on."""
    return tuple(override for override in overrides if uses(verb, override_key(override), named))


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.manifests")
