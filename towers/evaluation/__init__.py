"""Full-catalogue evaluation: queries, rankings, metrics, baselines, intervals, slices, reports and plots."""
