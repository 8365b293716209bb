"""Packages the modules of `serve` that the client needs, and no others, from the folder beside this one.

In a source distribution these modules lie within this folder instead, so that a wheel can be built of it as well.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist

MODULES = [
    "serve.client",
    "serve.api.connection",
    "serve.api.events.schemas",
    "serve.api.events.sender",
    "serve.api.events.unsent",
    "serve.api.limits",
    "serve.api.problems",
    "serve.api.schemas",
    "serve.pipeline.source",
]
"""Setuptools adds the `__init__.py` of their packages."""

REPOSITORY = ".."
SOURCE = "." if (Path(__file__).parent / "serve").is_dir() else REPOSITORY


class SourceDistribution(sdist):
    """A source distribution that holds the modules of the repository at the place where they are imported from."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copies the files into the tree of the distribution; those of the repository go to its top."""
        outside = [file for file in files if file.startswith(f"{REPOSITORY}/")]
        super().make_release_tree(base_dir, [file for file in files if file not in outside])
        for file in outside:
            target = Path(base_dir) / Path(file).relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


setup(
    py_modules=MODULES,
    package_dir={"": SOURCE},
    cmdclass={"sdist": SourceDistribution},
    options={"egg_info": {"egg_base": "."}},
)
