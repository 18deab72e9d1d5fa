"""Whether the watcher itself is well."""

from __future__ import annotations

from lrwatch.ops.rules.base import TARGET, Alert, Group, counted, recent


def _of_kind(metric: str, kind: str) -> str:
    growth = counted(metric, "<agent_window>").replace("\n", "\n  ")
    return f'label_replace(\n  {growth},\n  "kind", "{kind}", "", ""\n)'


# Of a scrape that failed Prometheus says 0 samples.
_SERIES = f"""\
sum by ({TARGET}) (max_over_time(scrape_samples_post_metric_relabeling[<scrape_gap>]))
/ count by ({TARGET}) ({recent("lrwatch_rank_up")})
> <series_per_worker>"""

GROUP = Group(
    "lrwatch.agents",
    "The watcher's own health and what it costs.",
    (
        Alert(
            "LrwatchAgentUnhealthy",
            "warning",
            _of_kind("lrwatch_agent_errors_total", "errors")
            + "\nor\n"
            + _of_kind("lrwatch_dropped_rows_total", "dropped rows"),
            "The watcher of a training run loses evidence.",
            'Run {{ $labels.run_id }}: {{ $labels.kind }} of the agent, {{ printf "%.0f" $value }} in <agent_window>. '
            "The training is not affected; what lrwatch says about this run may be incomplete.",
            wait="agent_for",
        ),
        Alert(
            "LrwatchCardinality",
            "warning",
            _SERIES,
            "A target exports more series per worker than lrwatch ever should.",
            'Target {{ $labels.instance }} has {{ printf "%.0f" $value }} series per worker, the budget is '
            "<series_per_worker>"
            '{{ with printf "count by (run_id) (lrwatch_rank_up{instance=%q})" $labels.instance | query }}'
            ' (run {{ . | first | label "run_id" }}){{ end }}.',
            wait="series_for",
        ),
    ),
)
