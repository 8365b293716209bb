"""Questions as requests, as addresses, and as text to copy."""

import ast
import json
import shlex

import pytest

from serve.api.schemas import RecommendRequest
from serve.viewer import snippets
from serve.viewer.question import Question

FULL = Question(
    user_id="u 1%", k=7,
    conditions=[{"field": "year", "op": ">=", "value": 1990}, {"field": "a", "op": "==", "value": "b"}],
    context={"daypart": "evening"}, history=["a b", "100%"], exclude_seen=False, timeout_ms=20,
)  # fmt: skip


def test_an_address_brings_the_question_back() -> None:
    assert Question.of_parameters(FULL.parameters(), k=10) == FULL
    assert Question.of_parameters({}, k=3) == Question(k=3)


def test_a_request_is_valid_and_says_only_what_differs() -> None:
    assert Question(user_id="u").body() == {"user_id": "u", "k": 10}
    assert RecommendRequest.model_validate(FULL.body()).filter == {"all": FULL.conditions}
    assert Question(conditions=FULL.conditions[:1]).body()["filter"] == FULL.conditions[0]


@pytest.mark.parametrize(
    "given",
    [
        {"k": "x"}, {"k": "-1"}, {"k": "²"}, {"k": "999999"}, {"filter": "{"}, {"filter": "{}"}, {"filter": "[1]"},
        {"context": "[]"}, {"context": '{"a": 1}'}, {"timeout_ms": "0"}, {"timeout_ms": "soon"},
    ],
)  # fmt: skip
def test_what_an_address_carries_of_another_form_is_left_out(given: dict[str, str]) -> None:
    RecommendRequest.model_validate(Question.of_parameters(given, k=10).body())


def test_text_to_copy_is_the_request() -> None:
    body = Question(user_id='it\'s $HOME "u"', context={"a": "b"}).body()
    words = shlex.split(snippets.curl("http://h:1", body).replace("\\\n", ""))
    assert json.loads(words[words.index("-d") + 1]) == body
    [call] = [node for node in ast.walk(ast.parse(snippets.python("http://h:1", body))) if isinstance(node, ast.Call)
              and ast.unparse(node.func) == "client.recommend"]  # fmt: skip
    assert {word.arg: ast.literal_eval(word.value) for word in call.keywords} == body
