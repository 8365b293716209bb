"""The analysis of an experiment as a table."""

from rich.table import Table

from serve.experiments.analysis import MIN_USERS, ExperimentAnalysis


def analysis_table(analysis: ExperimentAnalysis) -> Table:
    """The analysis as a table, with the sample-ratio check below it."""
    ok = analysis.sample_ratio_holds
    verdict = "shares as asked for" if ok else "SHARES ARE NOT THOSE ASKED FOR: look for the cause first"
    if analysis.without_share:
        verdict += f"; {', '.join(analysis.without_share)} answered users but has no share"
    caption = (
        f"{verdict} (p {analysis.sample_ratio_p:.3g});"
        f" {analysis.users_in_several_variants} users in more than one variant left out;"
        f" {analysis.outcomes}"
    )
    if any(result.lift is not None and result.interval is None for result in analysis.results):
        caption += f"; an interval needs {MIN_USERS} users of each variant, and outcomes that differ"
    table = Table(title=f"experiment {analysis.experiment}", caption=caption, caption_justify="left")
    for column in ("variant", "users", "per user", "lift", "95 % at a fixed time", "95 % at any time", ""):
        table.add_column(column, justify="left" if column in ("variant", "") else "right")
    for result in analysis.results:
        relative = "" if result.relative_lift is None else f" ({result.relative_lift:+.1%})"
        table.add_row(
            result.variant,
            f"{result.num_users:,}",
            "" if result.mean is None else f"{result.mean:.4g}",
            "" if result.lift is None else f"{result.lift:+.4g}{relative}",
            _range(result.interval),
            _range(result.anytime_interval),
            "may stop" if result.may_stop and ok else "",
        )
    return table


def _range(bounds: list[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:+.4g} .. {bounds[1]:+.4g}"
