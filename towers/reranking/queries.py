"""The queries that the re-ranker is fitted on: one for each held-out interaction, with that interaction's own context.

Shape legend: Q users, B queries, K candidates, C context features, A goals.
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
        hit_BK: bool, the candidate that the query's own interaction took.
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
        owner_B: Tensor,
        item_rows_B: Tensor,
        context_BC: Tensor,
        unwanted_QK: Tensor | None = None,
        goals_QKA: Tensor | None = None,
    ) -> "RerankQueries":
        """One query per interaction: the candidates of its user, its own context, and its own item as the hit.

        Args:
            lists: the candidates of each user [Q], whatever their context.
            hit_QK: bool, whether the user took the candidate in any of the interactions.
            owner_B: int64, the index in `lists` of each interaction's user.
            item_rows_B: int64, the item of each interaction.
            context_BC: int64, as in `CandidateLists`.
            unwanted_QK, goals_QKA: as `unwanted_BK` and `goals_BKA`, of the candidates of each user.
        """
        of_owner = replace(lists[owner_B], context_BC=context_BC)
        unwanted_BK, goals_BKA = (None if of is None else of[owner_B] for of in (unwanted_QK, goals_QKA))
        is_own_BK = of_owner.rows_BK == item_rows_B[:, None]
        return cls(of_owner, is_own_BK, hit_QK[owner_B], owner_B, unwanted_BK, goals_BKA)

    def __getitem__(self, at: Tensor) -> "RerankQueries":
        """Some of the queries, by a mask or indices."""
        unwanted_BK, goals_BKA = (None if of is None else of[at] for of in (self.unwanted_BK, self.goals_BKA))
        return RerankQueries(
            self.lists[at], self.hit_BK[at], self.taken_BK[at], self.user_B[at], unwanted_BK, goals_BKA
        )

    def copies(self) -> Tensor | None:
        """float32 [B, K]: as how many candidates each counts that was not taken: 1 more for an explicit negative of
        weight 1. None where all count once.
        """
        return None if self.unwanted_BK is None else torch.where(self.hit_BK, 1.0, 1 + self.unwanted_BK)

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.lists)

    def without_other_hits(self) -> "RerankQueries":
        """The same queries without the candidates that their users took in other interactions.

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
