"""Puts twotower.pth beside the packages of a wheel, where Python reads it at each start (twotower/own_packages.py)."""

from pathlib import Path
from typing import ClassVar

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithStart(build_py):
    """Builds the packages, and copies twotower/start.pth beside them."""

    START: ClassVar[str] = "twotower.pth"

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_file("twotower/start.pth", str(Path(self.build_lib) / self.START))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), str(Path(self.build_lib) / self.START)]


setup(cmdclass={"build_py": BuildWithStart})
