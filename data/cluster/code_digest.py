"""A digest of the code that makes something: it changes where the code does something else than before."""

import ast
import hashlib
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from data.artifacts.plugins import in_use

PACKAGES = ("data", "towers")
"""Packages that decide what a training comes to; in a sweep, the package of the command that it runs is added."""

OURS = (*PACKAGES, "conf", "serve")
"""Packages that count even where they are installed, as plugins do; of others, only those that lie in folders of their
own count."""

LIBRARIES = ("torch", "numpy", "pyarrow", "ray", "scipy")


CODE = "code"
"""Key of a manifest with the digest of the code that has made the folder; earlier versions did not write it."""

MIXED = "mixed"
"""Value of CODE where several versions of the code have made a folder, or it is not known which ones."""


def code_digest(*modules: str, packages: Sequence[str] = PACKAGES) -> str:
    """Digest of the code of these packages, of the packages of these modules, and of the versions of LIBRARIES.

    Comments, docstrings and layout do not count.
    """
    digest = hashlib.sha256(" ".join(f"{name}={_version(name)}" for name in LIBRARIES).encode())
    roots = {root for name in (*packages, *modules) if (root := _root(name)) is not None}
    for root in sorted(roots):
        for name, source in _sources(root):
            digest.update(f"\n{root.name}/{name}\n".encode() + _meaning(source))
    return digest.hexdigest()


def joint_code(*codes: str | None) -> str:
    """The digest of the code that has made all parts of something; MIXED where they differ, or one is not known.

    Args:
        codes: of each part; None where it was made by an earlier version, which did not write it.
    """
    first, *others = codes
    return first if first is not None and all(code == first for code in others) else MIXED


def _root(module: str) -> Path | None:
    """The folder of a module's top package, or the module's own file if it is in none; None where it has no file."""
    name = module.partition(".")[0]
    top = sys.modules.get(name)
    file = getattr(top, "__file__", None)
    if file is None:
        paths = list(getattr(top, "__path__", []))  # a package without an __init__.py
        return Path(paths[0]) if paths else None
    counts = {*OURS, *(plugin.partition(".")[0] for plugin in in_use())}
    if "site-packages" in Path(file).parts and name not in counts:
        return None  # whatever has imported us, such as a notebook's kernel
    return Path(file).parent if Path(file).name == "__init__.py" else Path(file)


def _sources(root: Path) -> Iterator[tuple[str, bytes]]:
    """Names, relative to `root`, and contents of Python files."""
    if root.is_file():
        yield "", root.read_bytes()
    for path in sorted(root.rglob("*.py")) if root.is_dir() else []:
        yield path.relative_to(root).as_posix(), path.read_bytes()


def _meaning(source: bytes) -> bytes:
    """The syntax tree without docstrings as text; the source itself where it is not Python of this version."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                match node.body:
                    case [ast.Expr(value=ast.Constant(value=str()) as docstring), *_]:
                        docstring.value = ""
    return ast.dump(tree).encode()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
