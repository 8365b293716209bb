"""The queries that the re-ranker is fitted on: one for each user and context of held-out interactions.

Interactions of a user that came with the same context are one query with several hits: a re-ranker that has to tell
them apart has nothing to do it by. A log without contexts has one query per user.

Shape legend: Q users, N interactions, B queries, K candidates, C context features, A goals.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from towers.reranking.candidate_lists import CandidateLists


@dataclass(frozen=True, slots=True)
class RerankQueries:
    """Candidates of several queries, and which of them were taken.

    Attributes:
        lists: the candidates that retrieval returned.
        hit_BK: bool, the candidates that the query's user took in the query's context.
        taken_BK: bool, all candidates that the query's user took in the held-out part.
        user_B: int64, the user of each query; a user may have several queries.
        unwanted_BK: float32, how much a candidate counts as an explicit negative of the query's user; 0 for all others.
            None where no user has any.
        goals_BKA: bool, whether the query's user had an event of each goal with the candidate in the held-out part;
            None where there are no goals.
    """

    lists: CandidateLists
    hit_BK: Tensor
    taken_BK: Tensor
    user_B: Tensor
    unwanted_BK: Tensor | None = None
    goals_BKA: Tensor | None = None

    @classmethod
    def of_users(cls, lists: CandidateLists, hit_BK: Tensor) -> "RerankQueries":
        """One query per user, in which the hits are all that was taken."""
        return cls(lists, hit_BK, hit_BK, torch.arange(len(lists)))

    @classmethod
    def of_interactions(
        cls,
        lists: CandidateLists,
        hit_QK: Tensor,
        owner_N: Tensor,
        item_rows_N: Tensor,
        context_NC: Tensor,
        unwanted_QK: Tensor | None = None,
        goals_QKA: Tensor | None = None,
        most: int | None = None,
        seed: int = 0,
    ) -> "RerankQueries":
        """One query per user and context: the candidates of the user, and as hits the items taken in this context.

        Args:
            lists: the candidates of each user [Q], whatever their context.
            hit_QK: bool, whether the user took the candidate in any of the interactions.
            owner_N: int64, the index in `lists` of each interaction's user.
            item_rows_N: int64, the item of each interaction.
            context_NC: int64, the context of each interaction, as in `CandidateLists`.
            unwanted_QK, goals_QKA: as `unwanted_BK` and `goals_BKA`, of the candidates of each user.
            most: at most so many queries, drawn at random; None takes all, by user and context.
            seed: decides which ones.
        """
        asked_NX = torch.cat([owner_N[:, None], context_NC], dim=1)
        asked_BX, query_N = asked_NX.unique(dim=0, return_inverse=True)
        numbers_B = torch.arange(len(asked_BX))
        if most is not None:
            numbers_B = torch.randperm(len(asked_BX), generator=torch.Generator().manual_seed(seed))[:most]
        owner_B = asked_BX[numbers_B, 0]
        of_owner = replace(lists[owner_B], context_BC=asked_BX[numbers_B, 1:])
        unwanted_BK, goals_BKA = (None if of is None else of[owner_B] for of in (unwanted_QK, goals_QKA))
        num_items = int(max(of_owner.rows_BK.max(), item_rows_N.max())) + 1 if len(owner_B) else 1
        pairs_BK = numbers_B[:, None] * num_items + of_owner.rows_BK
        is_taken_BK = torch.isin(pairs_BK, query_N * num_items + item_rows_N)
        return cls(of_owner, is_taken_BK, hit_QK[owner_B], owner_B, unwanted_BK, goals_BKA)

    def __getitem__(self, at: Tensor) -> "RerankQueries":
        """Some of the queries, by a mask or indices."""
        unwanted_BK, goals_BKA = (None if of is None else of[at] for of in (self.unwanted_BK, self.goals_BKA))
        return RerankQueries(
            self.lists[at], self.hit_BK[at], self.taken_BK[at], self.user_B[at], unwanted_BK, goals_BKA
        )

    def copies(self) -> Tensor | None:
        """float32 [B, K]: weight of each negative candidate: 1 plus its explicit-negative weight. None if all are 1."""
        return None if self.unwanted_BK is None else torch.where(self.hit_BK, 1.0, 1 + self.unwanted_BK)

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.lists)

    def without_other_hits(self) -> "RerankQueries":
        """The same queries without the candidates that their users took in other contexts alone.

        Those are neither right nor wrong for the query's own context.
        """
        rows_BK = torch.where(self.taken_BK & ~self.hit_BK, 0, self.lists.rows_BK)
        return replace(self, lists=replace(self.lists, rows_BK=rows_BK))

    def user_weights(self) -> Tensor:
        """float32 [B]: weights with which all users count alike, however many queries they have."""
        _, index_B, count_U = self.user_B.unique(return_inverse=True, return_counts=True)
        return 1 / count_U[index_B].float()

    def split_users(self, shares: tuple[float, ...], generator: torch.Generator) -> list[Tensor]:
        """Indices of the queries in parts that share no user, drawn at random.

        Args:
            shares: of the users, for all parts but the last; each of these parts has one user at least.

        Returns:
            int64, ascending, for each part; the last part is what remains, and may be empty.
        """
        users, index_B = self.user_B.unique(return_inverse=True)
        sizes = [max(round(share * len(users)), 1) for share in shares]
        bounds = torch.tensor(sizes).cumsum(0)
        place_U = torch.empty(len(users), dtype=torch.int64)
        place_U[torch.randperm(len(users), generator=generator)] = torch.arange(len(users))
        part_B = torch.bucketize(place_U[index_B], bounds, right=True)
        return [(part_B == part).nonzero().flatten() for part in range(len(shares) + 1)]
