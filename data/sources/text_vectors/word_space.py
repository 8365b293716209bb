"""The words of texts as vectors: latent semantic analysis, whose words and directions are kept for texts to come.

Shape legend: N texts, W words that count, M words of all texts, E length of a vector.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from scipy.sparse import linalg

from data.artifacts.errors import UserError

RARE = 2
"""Words that occur in fewer texts than this are left out: they say nothing about which texts are similar. Nor do those
of all texts, which weigh nothing."""


@dataclass(frozen=True)
class WordSpace:
    """What makes vectors of texts by their words: latent semantic analysis (Deerwester et al. 1990).

    The matrix of texts and words, weighted by tf-idf with logarithmic frequencies, is cut to its largest singular
    values. Words are those of the feature kind `text`. Vectors of two spaces have nothing to do with each other.

    Attributes:
        words: strings [W], those that count.
        weight_W: float32, the logarithm of the number of texts over that of the texts with the word.
        directions_WE: float32, the singular vectors, those of the largest values first.
        made_by: the columns of the texts, and the length that was asked for, as JSON.
    """

    words: pa.Array
    weight_W: np.ndarray
    directions_WE: np.ndarray
    made_by: str = ""

    @classmethod
    def fit(cls, texts: pa.Array, length: int, made_by: str = "") -> "WordSpace":
        """The space of some texts. E is smaller than `length` where there are fewer texts or words.

        Raises:
            UserError: there are too few texts and words.
        """
        flat, owner_M = _words(texts)
        counts_NW = _counts(owner_M, flat.indices.to_numpy(), (len(texts), len(flat.dictionary)))
        num_texts_W = np.bincount(counts_NW.indices, minlength=counts_NW.shape[1])
        is_telling_W = (num_texts_W >= RARE) & (num_texts_W < len(texts))
        is_kept_W = is_telling_W & pc.not_equal(flat.dictionary, "").to_numpy(zero_copy_only=False)
        weight_W = np.log(len(texts) / num_texts_W[is_kept_W]).astype(np.float32)
        weights_NW = _weighted(counts_NW[:, is_kept_W], weight_W)
        rank = min(length, *(size - 1 for size in weights_NW.shape))
        if rank < 1:
            raise UserError(
                f"embed.columns: there are too few texts and words for vectors: {is_kept_W.sum()} words are in {RARE}"
                f" or more of {len(texts)} texts and not in all of them; name other columns, or a model (embed.model)"
            )
        start = np.random.default_rng(0).normal(size=min(weights_NW.shape))
        _, _, right_EW = linalg.svds(weights_NW.astype(np.float64), k=rank, v0=start)
        directions_WE = np.ascontiguousarray(right_EW[::-1].T, dtype=np.float32)
        return cls(flat.dictionary.filter(pa.array(is_kept_W)), weight_W, directions_WE, made_by)

    def vectors(self, texts: pa.Array) -> np.ndarray:
        """float32 [N, E]: the texts' vectors, of length 1; zeros for texts without any of the words.

        A text has the same vector whichever others there are.
        """
        flat, owner_M = _words(texts)
        found = pc.index_in(flat.dictionary, value_set=self.words.cast(flat.dictionary.type))
        word_M = pc.fill_null(found, -1).to_numpy()[flat.indices.to_numpy()]
        is_known_M = word_M >= 0
        counts_NW = _counts(owner_M[is_known_M], word_M[is_known_M], (len(texts), len(self.words)))
        return unit(_weighted(counts_NW, self.weight_W) @ self.directions_WE)

    def as_table(self) -> pa.Table:
        """The space as a table with a row for each word."""
        directions = pa.FixedSizeListArray.from_arrays(
            pa.array(self.directions_WE.ravel()), self.directions_WE.shape[1]
        )
        table = pa.table({"word": self.words, "weight": pa.array(self.weight_W), "directions": directions})
        return table.replace_schema_metadata({"made_by": self.made_by})

    @classmethod
    def of_table(cls, table: pa.Table) -> "WordSpace":
        """The space that `as_table` wrote."""
        whole = table.combine_chunks()
        directions = whole["directions"].combine_chunks()
        directions_WE = directions.flatten().to_numpy().reshape(len(whole), -1)
        made_by = (table.schema.metadata or {}).get(b"made_by", b"").decode()
        return cls(whole["word"].combine_chunks(), whole["weight"].to_numpy(), directions_WE, made_by)


def _words(texts: pa.Array) -> tuple[pa.DictionaryArray, np.ndarray]:
    """The words of all texts [M], one after the other, and int64 [M], the text of each."""
    from data.sources.values.words import words

    lists = words(texts)
    return lists.flatten().dictionary_encode(), pc.list_parent_indices(lists).to_numpy()


def _counts(owner_M: np.ndarray, word_M: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """float32 [N, W]: how often each text has each word, the words of a text in ascending order."""
    counts_NW = sparse.csr_array((np.ones(len(owner_M), np.float32), (owner_M, word_M)), shape=shape)
    counts_NW.sum_duplicates()
    return counts_NW


def _weighted(counts_NW: sparse.csr_array, weight_W: np.ndarray) -> sparse.csr_array:
    """float32 [N, W]: tf-idf with logarithmic frequencies."""
    weights_NW = counts_NW.copy()
    weights_NW.data = 1 + np.log(weights_NW.data)
    return weights_NW @ sparse.diags_array(weight_W)


def unit(vectors_NE: np.ndarray) -> np.ndarray:
    """float32 [N, E]: the vectors, brought to length 1; zeros stay zeros."""
    length_N1 = np.linalg.norm(vectors_NE, axis=1, keepdims=True)
    return np.divide(vectors_NE, length_N1, out=np.zeros_like(vectors_NE), where=length_N1 > 1e-9).astype(np.float32)
