"""`twotower VERB ...` is `python -m <package>.VERB ...`; `twotower` alone lists the verbs.

`eval "$(twotower -sc install=bash)"` makes Bash complete verbs, config keys and values.
"""

import difflib
import os
import sys
from contextlib import suppress
from importlib import metadata

from twotower.own_packages import find_first
from twotower.verbs import MODULES, VERBS_BY_USER

DISTRIBUTION = "twotower-ray"

HEADER = """\
twotower: a two-tower recommender stack on Ray: prepare, train, publish to Milvus, serve

Usage: twotower VERB [key=value ...] [option ...]
"""

FOOTER = """\
twotower VERB --help says what a verb does, and what each of its values means.
twotower --version prints the version; eval "$(twotower -sc install=bash)" completes verbs, keys and values.
"""

COMPLETING = ("-sc", "--shell-completion")


def main() -> None:
    """Runs the verb that the command line names."""
    find_first()
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        with suppress(BrokenPipeError):  # as in `twotower | head`
            print(listing(), flush=True)
    elif arguments[0] == "--version":
        print(f"twotower {metadata.version(DISTRIBUTION)}")
    elif arguments[0] in COMPLETING:
        _complete(arguments)
    elif arguments[0] in MODULES:
        _launch(arguments[0], arguments[1:])
    else:
        near = difflib.get_close_matches(arguments[0], MODULES, 1)
        cure = f"did you mean {near[0]}? " if near else ""
        print(f"error: {arguments[0]!r} is no verb; {cure}twotower alone lists the verbs", file=sys.stderr)
        sys.exit(2)


def listing() -> str:
    """All verbs, by user."""
    parts = [HEADER]
    for user, verbs in VERBS_BY_USER.items():
        lines = [f"  {module.rpartition('.')[2]:12}  {what}" for module, what in verbs.items()]
        parts.append("\n".join([f"{user}:", *lines, ""]))
    return "\n".join([*parts, FOOTER.rstrip()])


def _launch(verb: str, arguments: list[str]) -> None:
    from conf.entry import launch

    sys.argv = ["twotower", *arguments]  # Hydra installs completion for a program of this name
    launch(MODULES[verb], f"twotower {verb}")


def _complete(arguments: list[str]) -> None:
    """Answers Hydra's shell completion; what stands after the verb is completed by Hydra.

    Hydra asks with `-sc query=SHELL`, and the line that is typed is in the environment variable COMP_LINE.
    """
    program, _, line = os.environ.get("COMP_LINE", "").partition(" ")
    verb, space, rest = line.lstrip().partition(" ")
    if arguments[1:2] and arguments[1].startswith("query=") and not (space and verb in MODULES):
        print(" ".join(name for name in MODULES if name.startswith(verb) and not space))
        return
    os.environ["COMP_LINE"] = f"{program} {rest}"
    _launch(verb or "train", arguments)


if __name__ == "__main__":
    main()
