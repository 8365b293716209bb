"""Vectors by words: those of texts to come can be compared with those that towers have learnt from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.artifacts.errors import ConfigError, UserError
from data.sources.text_vectors.config import EmbedTextConfig
from data.sources.text_vectors.files import WORDS, known_words, place_of_vectors, write_vectors
from data.sources.text_vectors.texts import vectors_of
from data.sources.text_vectors.word_space import WordSpace
from tests.data.sources.text_vectors.test_texts import TEXTS

NEW = ["green apple recipe", "night race race", "words that nobody has learnt"]


def written(config: EmbedTextConfig, titles: list[str]) -> np.ndarray:
    """What the command writes of items with these titles, read again."""
    items = pa.table({"item_id": [f"i{n}" for n in range(len(titles))], "title": titles})
    place = place_of_vectors(config)
    vectors_NE, space = vectors_of(items, config, known_words(config, place))
    write_vectors(config, place, items["item_id"], vectors_NE, space)
    found = np.array(pq.read_table(config.to)[config.name].to_pylist(), np.float32)
    np.testing.assert_array_equal(found, vectors_NE)
    return found


def test_further_texts_have_vectors_that_can_be_compared(tmp_path: Path) -> None:
    """Fitted anew, the vectors of the same texts turned into others, and towers took them for what they had learnt."""
    first, other = (EmbedTextConfig(to=f"{tmp_path}/{name}.parquet", length=2) for name in ("first", "other"))
    texts = TEXTS.to_pylist()
    before = written(first, texts)
    grown = written(first, [*NEW, *texts])
    np.testing.assert_array_equal(grown[len(NEW) :], before, "the same to the last digit: no item has changed")
    assert grown[0] @ before[0] > 0.8 and grown[1] @ before[3] > 0.8, "where the words are alike"
    assert not grown[2].any()
    of_new = written(replace(other, like=first.to), NEW)
    np.testing.assert_array_equal(of_new, grown[: len(NEW)])
    np.testing.assert_array_equal(written(other, NEW), of_new, "which has the words beside it too")


def test_vectors_that_could_not_be_compared_are_refused(tmp_path: Path) -> None:
    config = EmbedTextConfig(to=f"{tmp_path}/a.parquet", length=2)
    written(config, TEXTS.to_pylist())
    for changed in (replace(config, length=3), replace(config, columns=["title", "title"])):
        said = r'^embed\.to: .*made by \{"columns": \["title"\], "length": 2\}.* another file'
        with pytest.raises(ConfigError, match=said):
            known_words(changed, place_of_vectors(changed))
    to_another = replace(config, to=f"{tmp_path}/b.parquet")
    assert known_words(to_another, place_of_vectors(to_another)) is None
    with pytest.raises(ConfigError, match=r"^embed\.like: .*/b\.parquet: there is no b\.parquet\.words beside it"):
        like = replace(config, like=to_another.to)
        known_words(like, place_of_vectors(like))
    (tmp_path / f"a.parquet{WORDS}").write_text("damaged")
    with pytest.raises(ConfigError, match=r"a\.parquet\.words cannot be read"):
        known_words(config, place_of_vectors(config))
    with pytest.raises(ConfigError, match=r"embed\.like: a model makes vectors"):
        EmbedTextConfig(like="a.parquet", model="somewhere")


def test_vectors_of_a_model_leave_no_words_behind(tmp_path: Path) -> None:
    config = EmbedTextConfig(to=f"{tmp_path}/a.parquet", length=2)
    written(config, TEXTS.to_pylist())
    write_vectors(config, place_of_vectors(config), pa.chunked_array([["i"]]), np.ones((1, 2), np.float32))
    assert known_words(config, place_of_vectors(config)) is None


@pytest.mark.parametrize(
    "texts",
    [["red shoe", "red shoe"], ["red shoe", "red shoe", "red shoe"], ["red shoe", "red shoe blue", "red green shoe"]],
)
def test_words_of_all_texts_make_no_vectors(texts: list[str]) -> None:
    """They weigh nothing: ARPACK refused the matrix, or all vectors were zeros."""
    with pytest.raises(UserError, match=r"0 words are in 2 or more of \d texts and not in all of them; name other"):
        WordSpace.fit(pa.array(texts), 8)


@pytest.mark.parametrize("other", ["", " shop"])
def test_words_of_some_texts_tell_them_apart_in_a_tiny_catalogue(other: str) -> None:
    texts = pa.array([f"{text}{other}" for text in ("red shoe x", "red shoe x", "blue hat", "blue hat", "green")])
    found = WordSpace.fit(texts, 8).vectors(texts)
    assert np.isfinite(found).all() and (np.linalg.norm(found[:4], axis=1) > 0.99).all()
    assert found[0] @ found[1] > 0.99 and abs(found[0] @ found[2]) < 0.01
