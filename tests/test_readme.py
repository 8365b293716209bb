"""What the README tells people to type works as it stands there."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def write_shop(folder: Path) -> None:
    """A log of 40 customers and 30 products, as the README's yaml names its columns."""
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


def test_ones_own_log_in_ten_lines_of_yaml(tmp_path: Path) -> None:
    block = next(b for b in re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL) if "name: shop" in b)
    assert len(block.splitlines()) <= 10
    (tmp_path / "myconf" / "data").mkdir(parents=True)
    (tmp_path / "myconf" / "data" / "shop.yaml").write_text(block)
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
    assert [f["name"] for f in features] == [f["name"] for f in yaml.safe_load(block)["source"]["item_features"]]


def test_every_module_and_target_that_it_names_exists() -> None:
    modules = set(re.findall(r"python -m ([a-z]+\.[a-z]+)", README))
    assert len(modules) >= 5
    assert all(importlib.util.find_spec(module) for module in modules)
    targets = set(re.findall(r"^make ([a-z-]+)", README, flags=re.MULTILINE))
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert targets <= known
