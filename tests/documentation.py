"""Reads the documentation as a user does: the files, the commands to type, and the names in `code spans`."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep
from omegaconf import DictConfig

from conf.overrides import expanded, opened, renamed, with_release
from conf.schema import FOLDER, Config, register
from conf.verbs import VERBS, refuse_unused
from data.artifacts.structured import typed
from twotower.verbs import MODULES

ROOT = Path(__file__).parents[1]
FILES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
EXTENDING = "extending.md"
"""Its commands want the examples that it shows: tests/test_extending.py."""

HISTORY = "## History of module names"
"""The section of docs/architecture.md that names modules which are no more."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command line, without comment and environment variables.

    Attributes:
        file: name of the file that shows it.
        words: the command line, as a shell splits it.
    """

    file: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {' '.join(self.words)}"


def text(path: Path) -> str:
    """A file without the history of module names."""
    return path.read_text().partition(HISTORY)[0]


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def spans(path: Path) -> list[str]:
    """What stands between single backticks, outside of fenced blocks."""
    prose = re.sub(r"^```.*?^```", "", text(path), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def shown_commands() -> Iterator[Command]:
    """Every line of the shell blocks, and every code span that starts as a command does."""
    for path in FILES:
        for block in blocks(path, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words:
                    yield Command(path.name, tuple(words))
        for span in spans(path):
            if span.startswith(("python -m ", "make ")) and "<" not in span:
                yield Command(path.name, tuple(shlex.split(span)))


def python_commands() -> list[Command]:
    """Those that run one of our modules, also inside of `ray job submit`; each once, its words from the module on."""
    found = {}
    for command in shown_commands():
        words = command.words
        if words[0] == "twotower" and words[1:2] and words[1] in MODULES and "--help" not in words:
            typed_in = (MODULES[words[1]], *words[2:])
            found[typed_in] = Command(command.file, typed_in)
        for at, word in enumerate(words[:-2]):
            if word == "python" and words[at + 1] == "-m":
                found[words[at + 2 :]] = Command(command.file, words[at + 2 :])
    return list(found.values())


def heading_anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a file."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def composed(overrides: Sequence[str], folders: Sequence[Path] = (), *, hydra_too: bool = False) -> DictConfig:
    """The config of these overrides, with further config folders (`--config-dir`)."""
    register()
    more = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in folders)}]"] if folders else []
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        return compose("config", [*overrides, *more], return_hydra_config=hydra_too)


def one_point(overrides: Sequence[str]) -> list[str]:
    """The first point of a sweep: one value for each choice, range or interval."""
    found = []
    for shown, override in zip(overrides, OverridesParser.create().parse_overrides(list(overrides)), strict=True):
        name, value = shown.partition("=")[0], override.value()
        if isinstance(value, ChoiceSweep):
            shown = f"{name}={next(override.sweep_string_iterator())}"
        elif isinstance(value, RangeSweep | IntervalSweep):
            shown = f"{name}={value.start}"
        found.append(shown)
    return found


def check_overrides(command: Command, config_dir: Path | None = None) -> None:
    """Composes the config of a command and has its verb refuse what it does not use.

    Args:
        config_dir: what `--config-dir` names in the command.
    """
    verb, *arguments = command.words
    assert verb in VERBS
    words = iter(renamed(expanded(with_release(verb, arguments))))
    overrides: list[str] = []
    folders: list[Path] = []
    for word in words:
        if word == "--config-dir":
            assert config_dir is not None
            assert next(words) == config_dir.name
            folders.append(config_dir)
        elif word == "--cfg":
            assert next(words) == "job"
        elif word != "-m":
            overrides.append(word)
    point = one_point(overrides)
    refuse_unused(verb, point)
    check_composed(tuple(point), tuple(folders))


@cache
def check_composed(overrides: tuple[str, ...], folders: tuple[Path, ...]) -> None:
    """Composes a config, once for all commands with the same overrides."""
    assert isinstance(typed(composed(opened(overrides), folders)), Config)


def examples() -> dict[str, str]:
    """The files that docs/extending.md shows: its blocks by the path that stands before each."""
    shown = (ROOT / "docs" / "extending.md").read_text()
    found = re.findall(r"^`([\w/.]+)`:\n\n```(?:python|yaml)\n(.*?)^```", shown, flags=re.DOTALL | re.MULTILINE)
    return dict(found)
