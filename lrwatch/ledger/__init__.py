"""The ledger: finished runs → what the fleet achieves and what it costs.

``run``: a run from its summaries · ``kpis``: the fold over runs · ``book``: what was counted, across restarts ·
``scan``: the directory with the runs. All but ``scan`` are pure.
"""
