"""``lrwatch top``: one run in a terminal, from its workers' metrics and its run directory.

``scrape`` asks an endpoint, ``sources`` makes one picture of all that is known, ``view`` draws it, ``live`` repeats.
Needs rich, an extra of its own: trainers have no terminal, and get nothing that they do not need.
"""
