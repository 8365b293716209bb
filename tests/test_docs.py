"""What the documentation tells people to type, to read and to watch works as it stands there."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import BaseModel

from serve.api.events.schemas import EventsRequest
from serve.api.schemas import RecommendRequest, SimilarRequest
from tests.documentation import EXTENDING, ROOT, Command, blocks, check_overrides, python_commands, shown_commands
from twotower.verbs import MODULES

RESEARCHERS = ROOT / "docs" / "researchers.md"
SHOP = next(block for block in blocks(RESEARCHERS, "yaml") if "name: shop" in block)
BODIES: dict[str, type[BaseModel]] = {
    "/v1/recommend": RecommendRequest,
    "/v1/similar": SimilarRequest,
    "/v1/events": EventsRequest,
}
NOT_OURS = (".", "curl", "docker", "export", "helm", "kubectl", "make", "pip", "ray", "serve", "uv", "wandb")
"""First words of command lines that do not run a module of ours."""


def write_shop(folder: Path) -> None:
    """A log of 40 customers and 30 products, as the yaml of the guide names its columns."""
    clicks = folder / "logs" / "clicks"
    clicks.mkdir(parents=True)
    start = datetime(2026, 1, 1)
    rows = [(f"c{i % 40}", f"p{i * 7 % 30}", start + timedelta(minutes=i)) for i in range(800)]
    for part in range(2):
        customers, products, times = zip(*rows[part::2], strict=True)
        table = pa.table(
            {"customer": customers, "product": products, "clicked_at": times, "channel": ["app"] * len(times)}
        )
        pq.write_table(table, clicks / f"{part}.parquet")
    ids = range(30)
    products = pa.table(
        {
            "product": [f"p{i}" for i in ids],
            "name": [f"Product {i}" for i in ids],
            "category": [f"category {i % 3}" for i in ids],
            "price": [9.99 + i for i in ids],
            "tags": [["new", "sale"][: i % 3] for i in ids],
        }
    )
    pq.write_table(products, folder / "logs" / "products.parquet")


def write_shop_yaml(folder: Path) -> Path:
    """The config folder `myconf` of the guide."""
    (folder / "myconf" / "data").mkdir(parents=True)
    (folder / "myconf" / "data" / "shop.yaml").write_text(SHOP)
    return folder / "myconf"


@pytest.mark.slow
def test_ones_own_log_in_ten_lines_of_yaml(tmp_path: Path) -> None:
    assert len(SHOP.splitlines()) <= 10
    write_shop_yaml(tmp_path)
    write_shop(tmp_path)
    command = [sys.executable, "-m", "data.prepare", "--config-dir", "myconf", "data=shop"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    (summary,) = (tmp_path / "var" / "runs").rglob("summary.json")
    counts = json.loads(summary.read_text())["counts"]
    assert (counts["users"], counts["items"], counts["raw_interactions"]) == (40, 30, 800)
    (manifest,) = (tmp_path / "var" / "datasets").glob("shop-*/manifest.json")
    features = json.loads(manifest.read_text())["item_features"]
    assert [f["name"] for f in features] == [f["name"] for f in yaml.safe_load(SHOP)["source"]["item_features"]]


def test_every_module_and_target_that_it_names_exists() -> None:
    modules = {command.words[0] for command in python_commands()}
    assert len(modules) >= 5
    assert all(importlib.util.find_spec(module) for module in modules)
    targets = {c.words[1] for c in shown_commands() if c.words[0] == "make" and c.words[1:] and "=" not in c.words[1]}
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"demo", "test", "check"} <= targets <= known, targets - known


@pytest.mark.parametrize("command", [c for c in python_commands() if c.file != EXTENDING], ids=str)
def test_every_command_takes_its_overrides(command: Command, tmp_path: Path) -> None:
    """It composes as with `--cfg job`, in this process, and uses every value that it is given."""
    if not command.words[0].startswith("tests."):  # benchmarks have configs of their own
        check_overrides(command, write_shop_yaml(tmp_path))


def test_every_other_command_is_known() -> None:
    for command in shown_commands():
        assert command.words[0] in (*NOT_OURS, "python", "twotower"), str(command)
        if command.words[0] == "twotower":
            assert command.words[1:2] == () or command.words[1] in (*MODULES, "--version", "VERB"), str(command)


def test_the_commands_of_ray_have_these_options() -> None:
    from ray.scripts.scripts import cli

    for command in shown_commands():
        if command.words[0] != "ray":
            continue
        known: Any = cli
        words = list(command.words[1 : command.words.index("--") if "--" in command.words else None])
        while hasattr(known, "commands"):
            known = known.commands[words.pop(0)]
        options = {option for parameter in known.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, str(command)


def test_requests_by_curl_are_valid() -> None:
    bodies = 0
    for command in shown_commands():
        if command.words[0] == "curl" and "-d" in command.words:
            address = next(word for word in command.words if "/v1/" in word)
            schema = BODIES[address.partition("8000")[2]]
            schema.model_validate_json(command.words[command.words.index("-d") + 1])
            bodies += 1
    assert bodies >= 2


@pytest.mark.parametrize("file", ["README.md", "docs/services.md"])
def test_the_python_client_is_used_as_it_can_be(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the examples against an answer that is always the same."""
    item = {"id": "i1", "title": "One", "score": 0.5, "features": {}}
    user = {"user_id": "u", "events": [], "seen": [], "counts": {}, "forgotten": "2026-01-31T09:00:00Z"}
    events = {"accepted": 1, "duplicates": 0, "release_history": [], **user}
    lists = {"reasons": [], "unknown_items": [], "unknown_context": [], "items": [item]}
    answer = (
        {"request_id": "r", "release_id": "x", "source": "towers", "degraded": False, "timings_ms": {}} | lists | events
    )
    monkeypatch.setattr(httpx.Client, "request", lambda *_, **__: httpx.Response(200, json=answer))
    examples = blocks(ROOT / file, "python")
    assert examples
    for example in examples:
        exec(compile(example, file, "exec"), {})
