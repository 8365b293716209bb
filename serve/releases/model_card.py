"""The model card of a release (Mitchell et al. 2019), in Markdown, made from its manifest."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from serve.releases.lineage import lineage_of
from towers.evaluation.report import RERANKED, Report, report_of

CARD_FILE = "MODEL_CARD.md"
METRICS = ("recall", "ndcg", "mrr", "coverage", "gini", "novelty")


def model_card(release_id: str, manifest: dict[str, Any]) -> str:
    """The card as Markdown."""
    return "\n".join(_lines(release_id, manifest)) + "\n"


def _lines(release_id: str, manifest: dict[str, Any]) -> Iterator[str]:
    report, lineage, model = report_of(manifest), lineage_of(manifest), manifest["model"]
    yield from (
        f"# {release_id}",
        "",
        f"Two towers (dimension {model['embedding_dim']}, history {model['history']}), whose vectors are compared by"
        f" inner product, and a re-ranker, for {manifest['num_items']:,} items. Published {manifest['created_at']}.",
        "",
        "## Intended use",
        "",
        "Ranking items of this catalogue for users of the log that it was trained on, and for other users by the"
        " history that a request brings. Scores are log-odds and serve to order items; they say nothing about a"
        " person. Not for decisions about people (credit, prices, access), and not for other catalogues.",
        "",
        "## Where it comes from",
        "",
        *_table(("", ""), ((name, f"`{value}`") for name, value in lineage.items() if value is not None)),
        "",
        f"## Measured on the {report.split} part",
        "",
        f"{report.num_queries:,} users; all items of the catalogue are candidates, those that a user has seen are left"
        " out. The intervals are 95 % bootstrap intervals over users.",
        "",
        *_metrics(report),
        "",
        f"## Recall@{report.k} by slice",
        "",
        *_slices(report),
        "",
        *_gate(manifest.get("gate")),
        "## Limitations",
        "",
        *_refreshed(manifest),
        *_placement(manifest),
        *(f"- {note}" for note in report.notes),
        "- Recommendations are worse for users and items with few interactions in the log: see the slices.",
        "- A score as a probability is that of an active user taking the item within a period as long as the validation"
        " part of the log, and depends on that length.",
        "- The model has learnt from past choices and repeats their biases (the gate checks the share of popular"
        " items).",
    )


def _metrics(report: Report) -> Iterator[str]:
    names = [name for metric in METRICS if (name := f"{metric}@{report.k}") in report.metrics]

    def cell(ranking: str, name: str, value: float) -> str:
        bounds = report.intervals.get(ranking, {}).get(name)
        return f"{value:.4f}" + (f" ({bounds[0]:.4f} to {bounds[1]:.4f})" if bounds else "")

    rows = ((ranking, *(cell(ranking, n, values[n]) for n in names)) for ranking, values in report.rankings.items())
    return _table(("", *names), rows)


def _slices(report: Report) -> Iterator[str]:
    baselines = list(report.baselines)
    rows = (
        (
            f"{part['group']}: {part['name']}",
            f"{part['num_users']:,}",
            *(f"{part['recall'][ranking]:.4f}" for ranking in (RERANKED, *baselines)),
        )
        for part in report.slices
    )
    return _table(("", "users", RERANKED, *baselines), rows)


def _refreshed(manifest: dict[str, Any]) -> Iterator[str]:
    """How the catalogue has changed since the towers were trained and measured."""
    if (counts := manifest.get("refreshed")) is None:
        return
    num_new, num_removed = manifest["num_items"] - manifest["num_fitted_items"], len(manifest["withdrawn"])
    yield (
        f"- {num_new:,} of its items came after training, and are placed by their features alone; {num_removed:,} items"
        f" are removed and in no answer. Refreshed from {counts['from']} ({counts['added']:,} items added,"
        f" {counts['changed']:,} changed)."
    )


def _placement(manifest: dict[str, Any]) -> Iterator[str]:
    """How users known only by features are served; manifests of earlier versions do not say."""
    if (placement := manifest.get("placement")) is not None:
        how = "are placed by these" if placement["by_features"] else "get popular items"
        yield f"- Users without training data and history of whom features are known {how}: {placement['reason']}."


def _gate(gate: dict[str, Any] | None) -> Iterator[str]:
    if gate is None:
        return
    yield from ("## Gate", "")
    if gate.get("forced"):
        yield from (f"**Published with force=true:** {gate['forced']}. It failed: {'; '.join(gate['failed'])}", "")
    if "checks" in gate:
        rows = (
            (c["name"], f"{c['value']:.4g}", "" if c["live"] is None else f"{c['live']:.4g}", c["bound"])
            for c in gate["checks"]
        )
        yield from _table(("", "this release", gate["against"] or "live", "bound"), rows)
        yield ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
