"""The page beside an endpoint is given what the endpoint's process was configured with."""

from dataclasses import fields

from conf.schema import load
from conf.verbs import refuse_unused
from serve.viewer.beside import page_overrides
from serve.viewer.config import PageConfig

CONFIG = PageConfig(
    endpoint="http://127.0.0.1:9000", host="0.0.0.0", port=9090, names=["a.example", "it's, \\'[b]"], timeout_s=1.5,
    k=7, send_events=True, event_type="watched, 'twice'\\", sampled_users=11, map_items=12,
    metrics=["127.0.0.1:1", "b:2"], discovery="/where it/lies=here.json", every_s=2.5,
)  # fmt: skip


def test_every_value_arrives() -> None:
    unchanged = PageConfig()
    assert [f.name for f in fields(PageConfig) if getattr(CONFIG, f.name) == getattr(unchanged, f.name)] == []
    overrides = page_overrides(CONFIG, {"storage.root": "/a b/c", "serve.num_candidates": 177, "plugins": ["json"]})
    refuse_unused("serve.page", overrides)
    found = load(overrides)
    assert found.page == CONFIG
    assert (found.storage.root, found.serve.num_candidates, found.plugins) == ("/a b/c", 177, ["json"])
