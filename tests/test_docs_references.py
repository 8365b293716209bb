"""The names, links and metrics that the documentation mentions exist."""

import ast
import importlib.util
import re

from omegaconf import DictConfig, OmegaConf

from conf.overrides import RENAMED
from conf.schema import Config
from conf.verbs import VERBS
from tests.documentation import FILES, HISTORY, ROOT, composed, examples, heading_anchors, spans, text

TOPS = ("client", "conf", "data", "docs", "hydra_plugins", "notebooks", "serve", "tests", "towers")

OTHER_METRICS = {"haproxy_frontend_http_responses_total"}
"""Metrics that HAProxy exports by itself."""

COMPOSITIONS = (
    ("hydra/launcher=ray", "hydra/sweeper=optuna", "data=parquet", "data.source.interactions=x"),
    ("data=synthetic",),
    ("data=movielens", "data.source.path=x"),
    ("data=events", "data/source@data.source.base=table", "data.source.base.interactions=x"),
    ("data=gowalla",),
)
"""Between them, these have every config key that the documentation may name."""


def exported_metrics() -> set[str]:
    """Names of metrics as they are exported: Ray adds a prefix, and `serve.ingest` runs outside of Ray."""
    outside_of_ray = ROOT / "serve" / "api" / "events" / "kafka_metrics.py"
    found = set()
    for path in (*(ROOT / "serve" / "observability").glob("*.py"), outside_of_ray):
        prefix = "" if path == outside_of_ray else "ray_"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                suffixes = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}
                name = node.args[0]
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    found |= {f"{prefix}{name.value}{suffix}" for suffix in suffixes.get(node.func.id, ())}
    return found


def test_metrics_are_named_as_they_are_exported() -> None:
    named = {path.name: set(re.findall(r"\b(?:ray_twotower|twotower|haproxy)_[a-z_]+", text(path))) for path in FILES}
    exported = exported_metrics()
    for file, names in named.items():
        assert names <= exported | OTHER_METRICS | {"twotower_ray"}, file
    assert exported <= named["operators.md"]


def keys_of(config: DictConfig) -> set[str]:
    """The dotted names of all values and groups of a config."""
    found, left = set(), [("", config)]
    while left:
        prefix, node = left.pop()
        for name in node:
            key = f"{prefix}{name}"
            found.add(key)
            if not OmegaConf.is_missing(node, name) and isinstance(child := node._get_node(name), DictConfig):
                left.append((f"{key}.", child))
    return found


def test_every_config_key_that_is_named_exists() -> None:
    known = set().union(*(keys_of(composed(overrides, hydra_too=True)) for overrides in COMPOSITIONS))
    groups = tuple(f"{name}." for name in (*Config.__dataclass_fields__, "hydra"))
    for path in FILES:
        for span in spans(path):
            key, _, value = span.partition("=")
            if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", key) or not key.startswith(groups):
                continue
            if key in VERBS or key in RENAMED or (ROOT / key).exists():
                continue
            if key not in known:
                assert not value, f"{path.name}: {span}"
                assert importlib.util.find_spec(key) is not None, f"{path.name}: {span}"


def test_links_lead_somewhere() -> None:
    for path in FILES:
        for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
            if link.startswith("https://"):
                continue
            file, _, anchor = link.partition("#")
            target = path.parent / file if file else path
            assert target.exists(), f"{path.name}: {link}"
            assert not anchor or anchor in heading_anchors(target), f"{path.name}: {link}"


def test_headings_that_code_and_settings_name_exist() -> None:
    suffixes = {".py", ".yaml", ".toml"}
    paths = [path for top in TOPS for path in (ROOT / top).rglob("*") if path.suffix in suffixes]
    named = {
        found
        for path in [*paths, *(path for path in ROOT.iterdir() if path.is_file()), ROOT / ".ci" / "run"]
        for found in re.findall(r"docs/(\w+\.md)#([\w-]+)", path.read_text(errors="ignore"))
    }
    assert len(named) >= 2
    for file, anchor in named:
        assert anchor in heading_anchors(ROOT / "docs" / file), f"docs/{file}#{anchor}"


def test_files_and_folders_that_are_named_exist() -> None:
    for path in FILES:
        for span in set(spans(path)) - set(examples()):
            if re.fullmatch(rf"(?:{'|'.join(TOPS)})/[\w./*-]*", span):
                assert list(ROOT.glob(span.rstrip("/"))), f"{path.name}: {span}"


def test_todays_names_in_the_history_exist() -> None:
    _, _, history = (ROOT / "docs" / "architecture.md").read_text().partition(HISTORY)
    rows = re.findall(r"^\| `([a-z_0-9.]+)` \| (.+) \|$", history, flags=re.MULTILINE)
    assert len(rows) > 100
    for old, cell in rows:
        names = re.findall(r"`([a-z_0-9.]+)`", cell)
        assert names, old
        assert all(importlib.util.find_spec(name) for name in names), f"{old}: {cell}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200
