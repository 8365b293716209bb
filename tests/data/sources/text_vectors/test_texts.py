"""Vectors of texts: alike where the words are, by a model where one is given."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.schema import load
from data import embed_text
from data.artifacts.errors import ConfigError, UserError
from data.sources.text_vectors.config import EmbedTextConfig
from data.sources.text_vectors.files import place_of_vectors, write_vectors
from data.sources.text_vectors.texts import by_model, texts_of
from data.sources.text_vectors.word_space import WordSpace


def by_words(texts: pa.Array, length: int) -> np.ndarray:
    return WordSpace.fit(texts, length).vectors(texts)


TEXTS = pa.array(
    [
        "red apple pie",
        "green apple pie",
        "apple pie recipe",
        "fast car race",
        "car race night",
        "race of a fast car",
        "zzz",
    ]
)


def test_texts_of_like_words_have_like_vectors() -> None:
    found = by_words(TEXTS, 2)
    assert found.shape == (7, 2) and found.dtype == np.float32
    cosine = found @ found.T
    assert cosine[:3, :3].min() > 0.8 and cosine[3:6, 3:6].min() > 0.8
    assert np.abs(cosine[:3, 3:6]).max() < 0.3
    assert found[6].tolist() == [0, 0], "no word that another text has"
    np.testing.assert_array_equal(by_words(TEXTS, 2), found)
    assert by_words(TEXTS, 500).shape[1] < 7, "never longer than texts and words allow"


def test_too_few_texts_are_refused() -> None:
    with pytest.raises(UserError, match="too few texts and words"):
        by_words(pa.array(["a", "b"]), 8)


def test_the_text_of_an_item_has_several_columns() -> None:
    items = pa.table({"item_id": ["1", "2"], "title": ["Heat", None], "genres": [["Crime", "Drama"], None]})
    assert texts_of(items, ["title", "genres"]).to_pylist() == ["Heat Crime Drama", ""]
    with pytest.raises(ConfigError, match=r"embed\.columns: year is not in the table of items"):
        texts_of(items, ["year"])


def test_a_model_of_sentences_is_taken_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Model:
        def __init__(self, folder: str, local_files_only: bool) -> None:
            given.append((folder, local_files_only))

        def encode(self, texts: list[str], **options: object) -> np.ndarray:
            return np.array([[3.0, 4.0 * len(text)] for text in texts])

    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    found = by_model(pa.array(["a", ""]), str(tmp_path), 1)
    np.testing.assert_allclose(found, [[0.6, 0.8], [1.0, 0.0]], rtol=1e-6)
    assert given == [(str(tmp_path), True)], "nothing is fetched"
    with pytest.raises(ConfigError, match=r"embed\.model: nowhere is no folder"):
        by_model(pa.array(["a"]), "nowhere", 1)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match="needs the package sentence-transformers"):
        by_model(pa.array(["a"]), str(tmp_path), 1)


def test_the_folder_of_the_file_is_made_before_texts_are_embedded(tmp_path: Path) -> None:
    config = EmbedTextConfig(to=f"{tmp_path}/not/there/titles.parquet", name="of_title")
    place = place_of_vectors(config)
    for value in (1.0, 2.0):  # the second one replaces the first
        write_vectors(config, place, pa.chunked_array([["a", "b"]]), np.full((2, 3), value, np.float32))
    assert pq.read_table(config.to).to_pydict() == {"item_id": ["a", "b"], "of_title": [[2.0] * 3] * 2}
    assert [file.name for file in (tmp_path / "not/there").iterdir()] == ["titles.parquet"]


def test_a_place_where_no_file_can_be_is_refused_before_texts_are_embedded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^embed\.to: .* is a folder; name a file, such as .*/vectors\.parquet$"):
        place_of_vectors(EmbedTextConfig(to=str(tmp_path)))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^embed\.to: .*/file/titles\.parquet cannot be written"):
        place_of_vectors(EmbedTextConfig(to=f"{tmp_path}/file/titles.parquet"))


def test_the_files_of_the_log_are_not_written_over(tmp_path: Path) -> None:
    """As by somebody who takes `embed.to` for the table of items that gets one more column."""
    items, interactions = tmp_path / "items.csv", tmp_path / "log.csv"
    items.write_text("item_id,title\ni1,One\n")
    interactions.write_text("user_id,item_id,time\nu1,i1,1767225600\n")
    log = ["data=csv", f"data.source.interactions={interactions}", f"data.source.items={items}"]
    with pytest.raises(ConfigError, match=r"embed\.to: .*items\.csv is a file of the log itself"):
        embed_text.task(load([*log, "data.source.columns.title=title", f"embed.to={items}"]))
    assert items.read_text().startswith("item_id,title")


@pytest.mark.parametrize("name", ["vector", "title", "text-vector", ""])
def test_a_name_that_no_feature_can_have_is_refused_before_texts_are_embedded(name: str) -> None:
    """The file was written, and every later command refused it."""
    with pytest.raises(ConfigError, match=r"embed\.name: .* can be no feature of items: .*such as text_vector"):
        EmbedTextConfig(name=name)


def test_the_name_of_a_feature_of_the_log_is_refused(ray_session: None, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,time,genre\nu1,i1,1767225600,a\n")
    log = ["data=csv", *(f"data.source.{name}={tmp_path}/log.csv" for name in ("interactions", "items"))]
    log += ["data.source.item_features=[{name: genre, kind: categorical}]", f"embed.to={tmp_path}/v.parquet"]
    with pytest.raises(ConfigError, match=r"embed\.name: genre is a feature of the log's items already"):
        embed_text.task(load([*log, "embed.name=genre"]))
