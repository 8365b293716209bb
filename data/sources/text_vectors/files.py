"""Files of vectors of texts, and the words beside them by which vectors of further texts can be compared with them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from pyarrow import fs

from data.artifacts.errors import ConfigError, one_line
from data.artifacts.folders import Folder
from data.artifacts.json_text import json_text
from data.sources.text_vectors.config import EmbedTextConfig
from data.sources.text_vectors.word_space import WordSpace

WORDS = ".words"
"""Ending of the file beside a file of vectors that has the words by which they were made, see `WordSpace`."""


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
    config: EmbedTextConfig,
    place: tuple[Folder, str],
    item_ids: pa.ChunkedArray,
    vectors_NE: np.ndarray,
    space: WordSpace | None = None,
) -> None:
    """Writes a Parquet file with the columns `item_id` and `config.name`; readers see all of it or what was there.

    Args:
        place: of the file, as `place_of_vectors` returns it.
        space: the words that made the vectors, which are written beside it; None of those of a model.
    """
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors_NE.ravel()), vectors_NE.shape[1])
    folder, name = place
    if space is None:
        folder.delete_file(name + WORDS)  # of vectors by words that were there before
    else:
        folder.write_table(name + WORDS, space.as_table())
    folder.write_table(name, pa.table({"item_id": item_ids, config.name: vectors}))


def known_words(config: EmbedTextConfig, place: tuple[Folder, str]) -> WordSpace | None:
    """The words by which earlier vectors were made, so that new ones can be compared with them.

    They lie beside the file `config.like` or, without it, beside the file that is to be written, if it was written
    before. None where there are none yet, and with a model, which needs none.

    Args:
        place: of the file that is to be written, as `place_of_vectors` returns it.

    Raises:
        ConfigError: there are none beside `config.like`, or they were made by other columns or another length.
    """
    if config.model is not None:
        return None
    file = None if config.like is None else Folder.of(config.like)
    folder, name = place if file is None else (replace(file, path=file.path.rpartition("/")[0]), file.name)
    setting = f"embed.to: {config.to}" if config.like is None else f"embed.like: {config.like}"
    if not folder.exists(name + WORDS):
        if config.like is None:
            return None
        raise ConfigError(
            f"{setting}: there is no {name}{WORDS} beside it, which says by what words its vectors were made; embed the"
            " texts of all items anew, and train with those vectors"
        )
    try:
        found = WordSpace.of_table(folder.read_table(name + WORDS))
    except (OSError, KeyError, pa.ArrowException) as e:
        raise ConfigError(f"{setting}: {name}{WORDS} cannot be read ({one_line(e)}); restore it") from e
    if found.made_by != made_by(config):
        raise ConfigError(
            f"{setting}: its vectors were made by {found.made_by}, and these would be by {made_by(config)}, so that"
            " they could not be compared; give the values of before, or name another file to write and train with that"
        )
    return found


def made_by(config: EmbedTextConfig) -> str:
    """Of what texts words are taken, and for how long vectors, as JSON: spaces that differ in it cannot be compared."""
    return json_text({"columns": list(config.columns), "length": config.length})
