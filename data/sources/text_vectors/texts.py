"""Vectors of texts: from a local model of sentence-transformers, or by the words that occur together.

Shape legend: N texts, E length of a vector.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.errors import ConfigError, UserError
from data.sources.text_vectors.config import EmbedTextConfig
from data.sources.text_vectors.files import made_by
from data.sources.text_vectors.word_space import WordSpace, unit


def vectors_of(
    items: pa.Table, config: EmbedTextConfig, known: WordSpace | None = None
) -> tuple[np.ndarray, WordSpace | None]:
    """float32 [N, E], the vectors of the items' texts, in their order; and the words that made them, without a model.

    Args:
        known: the words of earlier vectors, as `known_words` returns them; None takes those of these texts.

    Raises:
        ConfigError, UserError: as for `texts_of`, `by_model` and `WordSpace.fit`.
    """
    texts = texts_of(items, list(config.columns))
    if config.model is not None:
        return by_model(texts, config.model, config.batch_size), None
    space = known or WordSpace.fit(texts, config.length, made_by(config))
    return space.vectors(texts), space


def texts_of(items: pa.Table, columns: list[str]) -> pa.Array:
    """large_string [N]: the columns of each row, joined by spaces; a missing value is left out.

    Raises:
        ConfigError: there is no such column.
    """
    if missing := [name for name in columns if name not in items.column_names]:
        raise ConfigError(f"embed.columns: {', '.join(missing)} is not in the table of items: {items.column_names}")
    parts = []
    for name in columns:
        column = items[name]
        if pa.types.is_list(column.type):
            column = pc.binary_join(column.cast(pa.list_(pa.string())), " ")
        parts.append(pc.fill_null(column.cast(pa.large_string()).combine_chunks(), ""))
    return pc.utf8_trim_whitespace(pc.binary_join_element_wise(*parts, pa.scalar(" ", pa.large_string())))


def by_model(texts: pa.Array, folder: str, batch_size: int) -> np.ndarray:
    """float32 [N, E]: the vectors of a local sentence-transformers model, of length 1. Nothing is downloaded.

    Raises:
        ConfigError: the folder does not exist.
        UserError: the package sentence-transformers is not installed, or cannot read the folder.
    """
    if not Path(folder).is_dir():
        raise ConfigError(f"embed.model: {folder} is no folder; give one with a model of sentences, or null for none")
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as e:
        raise UserError(
            "embed.model: needs the package sentence-transformers (pip install 'sentence-transformers>=5,<6')"
        ) from e
    try:
        model = SentenceTransformer(folder, local_files_only=True)
    except (OSError, ValueError) as e:
        raise UserError(f"embed.model: {folder} holds no model of sentences: {' '.join(str(e).split())}") from e
    parts = [
        np.asarray(model.encode(part, batch_size=batch_size, show_progress_bar=False), dtype=np.float32)
        for part in _chunks(texts.to_pylist(), 100 * batch_size)
    ]
    return unit(np.concatenate(parts))


def _chunks(texts: list[str], size: int) -> Iterator[list[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))
