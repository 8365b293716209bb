"""Words of texts in several scripts, as their readers see them."""

import pyarrow as pa
import pytest

from data.sources.values.words import words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The Lord of the Rings: 3.5", ["the", "lord", "of", "the", "rings", "3", "5"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),  # the vowels are combining marks
        ("我爱北京天安门", ["我", "爱", "北京", "天安门"]),
        ("東京タワーへ行く", ["東京タワー", "へ", "行く"]),
        ("สวัสดีชาวโลก", ["สวัสดี", "ชาว", "โลก"]),
        ("iPhone手机 壳", ["iphone", "手机", "壳"]),
        ("Ame\u0301lie", ["amélie"]),  # composed and decomposed letters are one
        ("", [""]),
        (None, None),
    ],
)
def test_words(text: str | None, wanted: list[str] | None) -> None:
    column = pa.array([text, "北京", None, "plain words"], pa.string())
    found = words(column)
    assert found.to_pylist() == [wanted, ["北京"], None, ["plain", "words"]]
    assert words(column.slice(1)).to_pylist() == [["北京"], None, ["plain", "words"]]
    assert words(pa.array([text], pa.string())).to_pylist() == [wanted]


def test_no_text_at_all() -> None:
    assert words(pa.array([], pa.string())).to_pylist() == []
