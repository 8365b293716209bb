"""A checkpoint becomes a release: `python -m serve.publish checkpoint=...`.

Item vectors go into a Milvus collection of their own, counted and searched before they count; then the release folder
is sealed. A release that exists is not built again.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import fs

from data.prepare import Say
from data.schema import FeatureKind
from data.storage import Folder, is_sealed, sealing
from serve.release import GOLDEN, Registry, golden_queries
from towers.checkpoint import Checkpoint, open_checkpoint, open_for
from towers.embed import item_vectors

if TYPE_CHECKING:
    from conf.schema import Config

CARRIED = ("user_features", "item_features", "user_scales", "item_scales", "model", "fit_on")
REPORTED = ("dataset", "config", "split", "num_queries", "metrics", "reranked", "floors")


def release_id(checkpoint: Checkpoint, index: Any) -> str:
    """Dataset name and digest of what the release holds: publishing the same again gives the same id."""
    decides = f"{checkpoint.manifest['fingerprint']} {index.algorithm.value}"
    return f"{checkpoint.manifest['dataset']['name']}-{hashlib.sha256(decides.encode()).hexdigest()[:10]}"


def publish(index: Any, checkpoint: Checkpoint, storage: Folder, say: Say = print) -> str:
    ...
