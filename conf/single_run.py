"""Composing beside Hydra's own: once for a command that is no sweep, and of another config within a command."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra

from conf.verbs import override_key


@contextmanager
def composing_once(arguments: Sequence[str], folder: Path) -> Iterator[None]:
    """Within the block, Hydra does not compose the config only to read `hydra.mode`, where that is known to be unset.

    Hydra composes the whole config, reads whether it is a sweep (`hydra.mode`), and then composes it again.

    Args:
        arguments: the command's arguments, as typed.
        folder: the folder of the yaml files.
    """
    if _may_name_mode(arguments, folder):
        yield
        return
    original = Hydra.get_mode
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = original  # type: ignore[method-assign]


def _may_name_mode(arguments: Sequence[str], folder: Path) -> bool:
    """Whether an override, or a yaml file that the arguments choose, may set `hydra.mode`; our config.yaml does not."""
    typed_in, _ = get_args_parser().parse_known_args(list(arguments))
    if typed_in.multirun or typed_in.config_dir or typed_in.config_name or typed_in.config_path:
        return True
    keys = [override_key(override) for override in typed_in.overrides]
    return any(key.startswith("hydra") or (folder / key.replace(".", "/")).is_dir() for key in keys)


@contextmanager
def beside_a_command() -> Iterator[None]:
    """Sets Hydra's own state aside in a command that it runs, such as one that reads the config of the endpoint."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = running
