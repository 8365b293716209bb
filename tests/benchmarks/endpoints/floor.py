"""What a team writes by hand today: one uvicorn process, FastAPI and FAISS around the same towers and re-ranker.

`python -m tests.benchmarks.endpoints.floor <storage root> <release> <port> <candidates>`. It knows no releases,
filters, exclusions, deadlines, fallbacks or metrics; one request is one run through the stages, on one thread.
"""

import sys

import numpy as np
import orjson
import torch
import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel

from data.artifacts.folders import Folder
from serve.index.faiss_library import faiss
from serve.releases.registry import ReleaseRegistry
from towers.checkpoint.checkpoint import Checkpoint
from towers.model.history.padding import pad
from towers.reranking.candidate_lists import CandidateLists
from towers.reranking.reranker import RECENT


class Ask(BaseModel):
    user_id: str
    k: int = 10


class Floor:
    """All of it in one function call."""

    def __init__(self, parts: Checkpoint, num_candidates: int) -> None:
        self.parts, self.num_candidates = parts, num_candidates
        self.index = faiss.IndexFlatIP(parts.model.config.embedding_dim)
        self.index.add(parts.item_vectors_ID[1:].numpy())
        shown = [f.name for f in parts.items.features if f.kind.is_rendered]
        table = parts.items.table
        self.items = [
            {"id": id_, "title": title, "features": features}
            for id_, title, features in zip(
                parts.items.ids.values.to_pylist(),
                table["title"].to_pylist(),
                table.select(shown).to_pylist(),
                strict=True,
            )
        ]

    @torch.inference_mode()
    def recommend(self, ask: Ask) -> list[dict[str, object]]:
        row = self.parts.users.ids.row(ask.user_id)
        history = self.parts.history.of_user(row)
        padded = pad([history.tolist()], self.parts.model.config.num_history)
        user_1D = self.parts.model.user_vectors(torch.tensor([row]), padded).numpy()
        scores_1K, entries_1K = self.index.search(user_1D, self.num_candidates)
        rows_1K = entries_1K + 1
        recent = np.zeros((1, RECENT), dtype=np.int64)
        recent[0, RECENT - len(history[-RECENT:]) :] = history[-RECENT:]
        ranked_K = self.parts.reranker(CandidateLists.of(user_1D, scores_1K, rows_1K, recent))[0].numpy()
        best = np.argsort(-ranked_K)[: ask.k]
        return [
            {**self.items[row - 1], "score": score}
            for row, score in zip(rows_1K[0][best].tolist(), ranked_K[best].tolist(), strict=True)
        ]


def app(floor: Floor) -> FastAPI:
    api = FastAPI()

    @api.post("/v1/recommend")
    async def recommend(ask: Ask) -> Response:
        return Response(orjson.dumps({"items": floor.recommend(ask)}), media_type="application/json")

    @api.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return api


if __name__ == "__main__":
    root, release_id, port, candidates = sys.argv[1:]
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    floor = Floor(ReleaseRegistry.of(Folder.of(root)).open(release_id).parts, int(candidates))
    uvicorn.run(app(floor), host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
