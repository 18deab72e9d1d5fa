"""What is ours in a Grafana: one folder, one data source, the dashboards, the annotations of finished runs.

``client`` speaks to the server, ``wanted`` says what should be there, ``plan`` compares and carries out. Ours is only
what has our uid prefix and, where Grafana has tags, our tag. Nothing organisation-wide is written: no preferences,
no default data source, no alert rules, no annotation outside our dashboards.
"""
