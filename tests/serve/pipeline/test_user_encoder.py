"""The user encoder embeds the features of items beforehand, where these fit, and gives the same vectors then."""

import numpy as np
import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from serve.pipeline import user_encoder
from serve.pipeline.user_encoder import KnownUser, UserEncoder
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release

USERS = [KnownUser(1, np.array([3, 5])), KnownUser(0, np.array([7])), KnownUser(0, np.array([], dtype=np.int64))]


def test_features_of_a_small_catalogue_are_embedded_once(
    tiny: Config, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = ReleaseRegistry.of(Folder.of(tiny.storage.root))
    monkeypatch.setattr(user_encoder, "PRECOMPUTED_BYTES", 0)
    features = registry.open(release.id).parts
    each_time = UserEncoder(release.id, features)
    assert features.model.item_features.has_features
    assert features.model.item_features.sum_ND is None, "a catalogue that is larger than the bound"
    monkeypatch.undo()
    parts = registry.open(release.id).parts
    beforehand = UserEncoder(release.id, parts)
    assert parts.model.item_features.sum_ND is not None
    assert parts.model.item_features.sum_ND.nbytes == parts.model.item_features.precomputed_bytes
    for vector_D, wanted_D in zip(beforehand.vectors(USERS), each_time.vectors(USERS), strict=True):
        if wanted_D is None:
            assert vector_D is None
        else:
            np.testing.assert_allclose(vector_D, wanted_D, atol=1e-6)
