"""What `--help` prints: what a command does, and the values that it uses, each with its meaning.

Hydra's own help shows all values of all commands, and takes seconds, because it composes the config for each group.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf

from conf.verbs import RECIPE_GROUPS, uses
from data.artifacts.secrets import recordable

DISTRIBUTION = "twotower-ray"

WIDTH = 120
"""Columns of the text."""

MODULE_COMMAND = re.compile(r"python -m (?:data|towers|serve)\.(\w+)")
"""A command as the docstrings of modules name it; the command `twotower` has shorter names."""

OPTIONS = """\
Options:
  key=value          sets a value; group=name takes the values of a yaml file, such as data=gowalla
  --cfg job          prints the config, and runs nothing
  --config-dir DIR   adds a folder of your own with yaml files of the same groups
  -m                 runs a sweep: every combination of values with commas, such as seed=0,1,2
  -sc install=bash   prints what makes Bash complete names and values: eval "$(twotower -sc install=bash)"
  --version          prints the version
  --hydra-help       prints the options of Hydra, which reads the command line
  HYDRA_FULL_ERROR=1 in the environment shows the traceback of an error
"""


def wants_help(arguments: Sequence[str]) -> bool:
    """Whether the arguments, as typed, ask for help."""
    return bool(get_args_parser().parse_known_args(list(arguments))[0].help)


def version() -> str:
    """The version of this distribution; it is unknown where the code runs from a folder without being installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def help_text(program: str, verb: str, docstring: str, config: DictConfig, folders: Sequence[Path]) -> str:
    """The help of a command.

    Args:
        program: how it is started, such as `python -m serve.promote`.
        verb: its module, such as `serve.promote`.
        docstring: of its module.
        config: the composed config, of the type `conf.schema.Config`.
        folders: the folders of yaml files.
    """
    if program.startswith("twotower "):
        docstring = MODULE_COMMAND.sub(r"twotower \1", docstring)
    parts = [docstring.strip(), f"Usage: {program} [key=value ...] [option ...]", OPTIONS.rstrip()]
    groups = [_wrapped(f"{name}: {', '.join(options)}", 2) for name, options in _groups(verb, folders)]
    if groups:
        parts.append("\n".join(["Yaml files by group (group=name):", *groups]))
    parts.append("\n".join(["Values:", *_values(config, "", verb)]))
    return "\n\n".join(parts)


def _groups(verb: str, folders: Sequence[Path]) -> Iterator[tuple[str, list[str]]]:
    found: dict[str, set[str]] = {}
    for path in (path for folder in folders for path in folder.glob("*/*.yaml")):
        found.setdefault(path.parent.name, set()).add(path.stem)
    for name, options in sorted(found.items()):
        if (name in RECIPE_GROUPS or len(options) > 1) and uses(verb, name):
            yield name, sorted(options)


def _values(node: DictConfig, key: str, verb: str) -> Iterator[str]:
    """Lines with the values below a key that a verb uses, each with its meaning."""
    of = OmegaConf.get_type(node)
    if not is_dataclass(of):
        return
    meanings = attributes(of)
    for field in fields(of):
        inner = f"{key}.{field.name}".lstrip(".")
        if not uses(verb, inner):
            continue
        value = None if OmegaConf.is_missing(node, field.name) else node[field.name]
        if isinstance(value, DictConfig) and is_dataclass(OmegaConf.get_type(value)):
            yield from _values(value, inner, verb)
            continue
        shown = "???" if OmegaConf.is_missing(node, field.name) else _formatted(value)
        choices = f" ({', '.join(type(value).__members__)})" if isinstance(value, Enum) else ""
        yield f"  {inner}={shown}{choices}"
        if meaning := meanings.get(field.name):
            yield _wrapped(meaning, 6)


def _wrapped(text: str, indent: int) -> str:
    margin = " " * indent
    return textwrap.fill(text, WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)


def _formatted(value: Any) -> str:
    if OmegaConf.is_config(value):
        return str(recordable(OmegaConf.to_container(value)))
    if isinstance(value, Enum):
        return value.name
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(recordable(value))


def attributes(of: type) -> dict[str, str]:
    """The meanings of a dataclass's fields, from the section `Attributes` of its docstrings and those of its bases."""
    found: dict[str, str] = {}
    for each in reversed(of.__mro__):
        _, _, section = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")
        for names, meaning in re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n      .*)*)", section, flags=re.MULTILINE):
            found |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    return found
