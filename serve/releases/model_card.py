"""The model card of a release (Mitchell et al. 2019), in Markdown, of what its manifest says."""

from collections.abc import Iterator, Sequence
from typing import Any

from serve.releases.lineage import lineage_of
from towers.evaluation.report import RERANKED, Report, report_of

CARD = "MODEL_CARD.md"
SHOWN = ("recall", "ndcg", "mrr", "coverage", "gini", "novelty")


def card(release_id: str, manifest: dict[str, Any]) -> str:
    """Markdown."""
    return "\n".join(_lines(release_id, manifest)) + "\n"


def _lines(release_id: str, manifest: dict[str, Any]) -> Iterator[str]:
    report, of, model = report_of(manifest), lineage_of(manifest), manifest["model"]
    yield from (
        f"# {release_id}",
        "",
        f"Two towers (dimension {model['embedding_dim']}, history {model['history']}) whose vectors meet by inner"
        f" product, and a re-ranker, for {manifest['num_items']:,} items. Published {manifest['created_at']}.",
        "",
        "## Intended use",
        "",
        "Ranking items of this catalogue for users of the log that it was trained on, and for others by the history"
        " that a request brings. Scores are log-odds for ordering; they are no statement on a person. Not for decisions"
        " on people (credit, prices, access), nor for other catalogues.",
        "",
        "## Where it comes from",
        "",
        *_table(("", ""), ((name, f"`{value}`") for name, value in of.items() if value is not None)),
        "",
        f"## Measured on the {report.split} part",
        "",
        f"{report.num_queries:,} users, the whole catalogue as candidates, seen items masked; 95 % intervals by user.",
        "",
        *_metrics(report),
        "",
        f"## Recall@{report.k} by slice",
        "",
        *_slices(report),
        "",
        *_gate(manifest.get("gate")),
        "## What to know",
        "",
        *_refreshed(manifest),
        *(f"- {note}" for note in report.notes),
        "- Users and items that the log says little of are answered worse: see the slices.",
        "- It has learnt what was taken before, and repeats its leanings (the gate has the share of popular ones).",
    )


def _metrics(report: Report) -> Iterator[str]:
    names = [name for metric in SHOWN if (name := f"{metric}@{report.k}") in report.metrics]

    def cell(ranking: str, name: str, value: float) -> str:
        bounds = report.intervals.get(ranking, {}).get(name)
        return f"{value:.4f}" + (f" ({bounds[0]:.4f} to {bounds[1]:.4f})" if bounds else "")

    rows = ((ranking, *(cell(ranking, n, of[n]) for n in names)) for ranking, of in report.rankings.items())
    return _table(("", *names), rows)


def _slices(report: Report) -> Iterator[str]:
    floors = list(report.floors)
    head = ("", "users", RERANKED, *floors)
    rows = (
        (
            f"{part['group']}: {part['name']}",
            f"{part['num_users']:,}",
            *(f"{part['recall'][ranking]:.4f}" for ranking in (RERANKED, *floors)),
        )
        for part in report.slices
    )
    return _table(head, rows)


def _refreshed(manifest: dict[str, Any]) -> Iterator[str]:
    """What came to its catalogue after it was trained and measured."""
    if (counts := manifest.get("refreshed")) is None:
        return
    new, withdrawn = manifest["num_items"] - manifest["num_fitted_items"], len(manifest["withdrawn"])
    yield (
        f"- {new:,} of its items came after training, and are placed by their features alone; {withdrawn:,} are in no"
        f" answer. Refreshed from {counts['from']} ({counts['added']:,} added, {counts['changed']:,} changed)."
    )


def _gate(gate: dict[str, Any] | None) -> Iterator[str]:
    if gate is None:
        return
    yield from ("## Gate", "")
    if gate.get("forced"):
        yield from (f"**Let through for a reason:** {gate['forced']}. It failed: {'; '.join(gate['failed'])}", "")
    if "checks" in gate:
        rows = (
            (c["name"], f"{c['value']:.4g}", "" if c["live"] is None else f"{c['live']:.4g}", c["bound"])
            for c in gate["checks"]
        )
        yield from _table(("", "this", gate["against"] or "live", "bound"), rows)
        yield ""


def _table(head: Sequence[str], rows: Iterator[Sequence[str]] | Iterator[tuple[str, str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
