"""A request as text to copy: a curl command, and a program in Python."""

import json
import pprint
import shlex
from typing import Any

from serve.api.connection import KEY


def curl(address: str, body: dict[str, Any], shows_key: bool = False) -> str:
    """Returns a shell command that sends a request for recommendations, with the key of the environment if asked."""
    key = f' -H "Authorization: Bearer ${KEY}"' if shows_key else ""
    return (
        f"curl -s {shlex.quote(f'{address}/v1/recommend')} -H 'content-type: application/json'{key} \\\n"
        f"  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
    )


def python(address: str, body: dict[str, Any]) -> str:
    """Returns a program that sends a request for recommendations and prints the answer."""
    arguments = "".join(f"        {name}={_value(value)},\n" for name, value in body.items())
    return (
        "from serve.client import RecommendClient\n\n"
        f"with RecommendClient({address!r}) as client:\n"
        f"    answer = client.recommend(\n{arguments}    )\n"
        "    for item in answer.items:\n"
        "        print(item.id, item.title, item.score)\n"
    )


def _value(value: Any) -> str:
    text = pprint.pformat(value, width=100, sort_dicts=False)
    return text.replace("\n", "\n        ")
