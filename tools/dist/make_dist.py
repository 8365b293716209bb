"""Makes a release of the project in dist/, and tries it as a user would: `make dist`.

Builds the source distribution and the wheel, and the client's; checks them with twine; installs the wheel with its
pinned dependencies into an empty environment, and runs `twotower demo` there in an empty folder; adds the extras that
users install; checks the licences of all that was installed; asks PyPI for known vulnerabilities, where it can; and
writes an SBOM (CycloneDX) and checksums beside the wheel. Each step prints a line. Ends with status 1 at the first step that fails, and leaves what it made.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from time import perf_counter

from licences import refused

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
TOOLS = Path(sys.executable).parent
SMALL = (
    "demo.wait=false", "tracking=off", "data.source.num_users=300", "data.source.num_items=200",
    "data.source.num_clusters=10", "data.source.interactions_per_user=20", "model.embedding_dim=16", "train.epochs=2",
    "train.batch_size=256", "loss.num_uniform=64", "gate.max_mean_cosine=0.7",
)  # fmt: skip
"""A demo of seconds rather than minutes."""

EXTRAS = ("page", "kafka")
"""What users install beside the wheel's own dependencies; the other extras are for whoever changes the project."""


class DistributionError(Exception):
    """A step failed; the text says which, and why."""


def run(*command: str | Path, cwd: Path = ROOT, allowed: tuple[int, ...] = (0,)) -> str:
    """Returns what a command prints; DistributionError with its last lines if it ends with another status."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode not in allowed:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise DistributionError(f"{' '.join(str(word) for word in command)} ended with {done.returncode}:\n{last}")
    return done.stdout


def checked_version() -> str:
    """The version that pyproject.toml names, which the client and the changelog name as well."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = str(project["version"])
    clients = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]["version"]
    if clients != version:
        raise DistributionError(f"client/pyproject.toml: version {clients} must be that of pyproject.toml, {version}")
    if not re.search(rf"^## \[{re.escape(version)}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE):
        raise DistributionError(f"CHANGELOG.md: version {version} has no section; add '## [{version}] - <date>'")
    return version


def build() -> str:
    """Builds into an empty dist/: the wheels are built from the source distributions."""
    shutil.rmtree(DIST, ignore_errors=True)
    for project in (ROOT, ROOT / "client"):
        run(sys.executable, "-m", "build", "--outdir", DIST, project)
    return ", ".join(sorted(path.name for path in DIST.iterdir()))


def check_metadata() -> str:
    run(sys.executable, "-m", "twine", "check", "--strict", *DIST.iterdir())
    return "metadata and descriptions are what PyPI takes"


def install(bare: Path, version: str, torch: str, torch_index: str) -> str:
    """Installs the wheel into an environment of its own, torch first, all by the pins."""
    run(sys.executable, "-m", "venv", bare)
    run(ROOT / "tools" / "install-torch", bare / "bin" / "python", torch, torch_index)
    pip_install(bare, version, "")
    return f"{len(packages(bare))} packages"


def add_extras(bare: Path, version: str) -> str:
    """Installs what the extras bring, after the smoke test has done without it."""
    pip_install(bare, version, f"[{','.join(EXTRAS)}]")
    return f"{', '.join(EXTRAS)}: now {len(packages(bare))} packages"


def pip_install(bare: Path, version: str, extras: str) -> None:
    (wheel,) = DIST.glob(f"twotower_ray-{version}-*.whl")
    run(bare / "bin" / "python", "-m", "pip", "install", "-q", "-c", "constraints.txt", f"{wheel}{extras}")


def packages(bare: Path) -> list[dict[str, str]]:
    """Name and version of each package in the environment."""
    listed = json.loads(run(bare / "bin" / "python", "-m", "pip", "list", "--format=json"))
    return [package for package in listed if package["name"] not in ("pip", "setuptools")]


def smoke(bare: Path, version: str, empty: Path) -> str:
    """`twotower` in an empty folder: it lists the verbs, has the version, and its demo runs from a log to answers."""
    command = bare / "bin" / "twotower"
    said = run(command, "--version", cwd=empty).strip()
    if said != f"twotower {version}":
        raise DistributionError(f"twotower --version says {said}, not {version}")
    if "promote" not in run(command, cwd=empty):
        raise DistributionError("twotower does not list its verbs")
    return run(command, "demo", *SMALL, cwd=empty).strip().splitlines()[-1]


def check_licences(bare: Path) -> str:
    """Lists the licences of all that was installed in dist/licences.json; those that nobody has allowed are an error."""
    listed = json.loads(
        run(TOOLS / "pip-licenses", f"--python={bare / 'bin' / 'python'}", "--format=json", "--from=mixed", "--with-urls")
    )
    (DIST / "licences.json").write_text(json.dumps(listed, indent=1) + "\n")
    problems = refused({package["Name"]: package["License"] for package in listed})
    if problems:
        raise DistributionError("\n".join(problems))
    return f"{len(listed)} packages, all allowed"


def audit(bare: Path, folder: Path) -> str:
    """Asks PyPI for known vulnerabilities. Packages of which it says nothing are counted, not taken for sound."""
    frozen, report = folder / "frozen.txt", folder / "audit.json"
    own = "twotower-ray"
    pins = [f"{one['name']}=={one['version'].partition('+')[0]}" for one in packages(bare) if one["name"] != own]
    frozen.write_text("\n".join(pins) + "\n")
    command = (TOOLS / "pip-audit", "-r", frozen, "--no-deps", "--disable-pip", "-f", "json", "-o", report, "--timeout", "15")
    try:
        run(*command, allowed=(0, 1))
        answered = json.loads(report.read_text())["dependencies"]
    except (DistributionError, OSError, ValueError):
        return f"PyPI could not be asked about {len(pins)} packages; audit them where it can"
    vulnerable = [
        f"{one['name']} {one['version']}: {', '.join(found['id'] for found in one['vulns'])}"
        for one in answered
        if one.get("vulns")
    ]
    if vulnerable:
        raise DistributionError("known vulnerabilities: " + "; ".join(vulnerable))
    unknown = sum("skip_reason" in one for one in answered)
    told = f"; PyPI said nothing about {unknown}: audit them where it does" if unknown else ""
    return f"of {len(answered)} packages, {len(answered) - unknown} have no known vulnerability{told}"


def bill_of_materials(bare: Path, version: str) -> str:
    """Writes the SBOM of the bare environment beside the wheel."""
    target = DIST / f"twotower_ray-{version}.cdx.json"
    run(
        *(TOOLS / "cyclonedx-py", "environment", bare / "bin" / "python", "--pyproject", "pyproject.toml"),
        *("--output-reproducible", "--validate", "--output-format", "JSON", "--output-file", target),
    )
    components = json.loads(target.read_text())["components"]
    return f"{target.name}, {len(components)} components"


def write_checksums() -> str:
    files = sorted(path for path in DIST.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (DIST / "SHA256SUMS").write_text("".join(lines))
    return f"SHA256SUMS of {len(files)} files"


def main(torch: str, torch_index: str) -> int:
    """Makes and tries the release; returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="twotower-dist-") as name:
        folder = Path(name)
        bare, empty = folder / "bare", folder / "empty"
        empty.mkdir()
        try:
            version = checked_version()
            steps = (
                ("build", lambda: build()),
                ("twine check", lambda: check_metadata()),
                ("bare environment", lambda: install(bare, version, torch, torch_index)),
                ("smoke test", lambda: smoke(bare, version, empty)),
                ("extras", lambda: add_extras(bare, version)),
                ("licences", lambda: check_licences(bare)),
                ("pip-audit", lambda: audit(bare, folder)),
                ("SBOM", lambda: bill_of_materials(bare, version)),
                ("checksums", lambda: write_checksums()),
            )
            for title, step in steps:
                started = perf_counter()
                said = step()
                print(f"{title:18}{perf_counter() - started:6.0f} s  {said}", flush=True)
        except DistributionError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", default="", help="cpu, cuda, or nothing, as TORCH of make")
    parser.add_argument("--torch-index", default="", help="one more place where pip looks for torch")
    arguments = parser.parse_args()
    sys.exit(main(arguments.torch, arguments.torch_index))
