"""Vectors of texts: from a local model of sentence-transformers, or by latent semantic analysis of their words.

Shape legend: N texts, W words, E length of a vector.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs
from scipy import sparse
from scipy.sparse import linalg

from data.artifacts.errors import ConfigError, UserError, one_line
from data.artifacts.folders import Folder
from data.sources.values.text_vectors_config import EmbedTextConfig

RARE = 2
"""Words that occur in fewer texts than this are left out: they say nothing about which texts are similar."""


def vectors_of(items: pa.Table, config: EmbedTextConfig) -> np.ndarray:
    """float32 [N, E]: the vectors of the items' texts, in their order; for errors see `texts_of` and `by_model`."""
    texts = texts_of(items, list(config.columns))
    if config.model is None:
        return by_words(texts, config.length)
    return by_model(texts, config.model, config.batch_size)


def place_of_vectors(config: EmbedTextConfig) -> tuple[Folder, str]:
    """The folder of the file `config.to`, which is created if it is not there, and the file's name.

    To be called before texts are embedded, which may take hours.

    Raises:
        ConfigError: there is a folder in the file's place, or its own folder cannot be created.
    """
    file = Folder.of(config.to)
    folder = replace(file, path=file.path.rpartition("/")[0])
    try:
        if file.filesystem.get_file_info(file.path).type == fs.FileType.Directory:
            raise ConfigError(f"embed.to: {config.to} is a folder; name a file, such as {config.to}/vectors.parquet")
        return folder.create(), file.name
    except OSError as e:
        raise ConfigError(f"embed.to: {config.to} cannot be written ({one_line(e)}); name another file") from e


def write_vectors(
    config: EmbedTextConfig, place: tuple[Folder, str], item_ids: pa.ChunkedArray, vectors_NE: np.ndarray
) -> None:
    """Writes a Parquet file with the columns `item_id` and `config.name`; readers see all of it or what was there.

    Args:
        place: of the file, as `place_of_vectors` returns it.
    """
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors_NE.ravel()), vectors_NE.shape[1])
    folder, name = place
    folder.write_table(name, pa.table({"item_id": item_ids, config.name: vectors}))


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


def by_words(texts: pa.Array, length: int) -> np.ndarray:
    """float32 [N, E]: latent semantic analysis (Deerwester et al. 1990); zeros for texts without a frequent word.

    The matrix of texts and words, weighted by tf-idf with logarithmic frequencies, is cut to its largest singular
    values. Words are those of the feature kind `text`. E is smaller than `length` where there are fewer texts or words.
    """
    from data.sources.values.words import words

    lists = words(texts)
    flat = lists.flatten().dictionary_encode()
    owner_M = pc.list_parent_indices(lists).to_numpy()
    counts_NW = sparse.csr_array(
        (np.ones(len(flat), np.float32), (owner_M, flat.indices.to_numpy())), shape=(len(texts), len(flat.dictionary))
    )
    counts_NW.sum_duplicates()
    num_texts_W = np.bincount(counts_NW.indices, minlength=counts_NW.shape[1])
    is_kept_W = (num_texts_W >= RARE) & pc.not_equal(flat.dictionary, "").to_numpy(zero_copy_only=False)
    weights_NW = counts_NW[:, is_kept_W]
    weights_NW.data = 1 + np.log(weights_NW.data)
    weights_NW = weights_NW @ sparse.diags_array(np.log(len(texts) / num_texts_W[is_kept_W]).astype(np.float32))
    rank = min(length, *(size - 1 for size in weights_NW.shape))
    if rank < 1:
        raise UserError("embed.columns: there are too few texts and words for vectors; name other columns, or a model")
    start = np.random.default_rng(0).normal(size=min(weights_NW.shape))
    left_NE, values_E, _ = linalg.svds(weights_NW.astype(np.float64), k=rank, v0=start)
    return _unit((left_NE * values_E)[:, ::-1])


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
    return _unit(np.concatenate(parts))


def _chunks(texts: list[str], size: int) -> Iterator[list[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))


def _unit(vectors_NE: np.ndarray) -> np.ndarray:
    """float32 [N, E]: the vectors, brought to length 1; zeros stay zeros."""
    length_N1 = np.linalg.norm(vectors_NE, axis=1, keepdims=True)
    return np.divide(vectors_NE, length_N1, out=np.zeros_like(vectors_NE), where=length_N1 > 1e-9).astype(np.float32)
