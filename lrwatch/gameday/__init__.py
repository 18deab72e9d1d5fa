"""Game days: real trainers that go wrong on purpose, a real Prometheus and Alertmanager, and who heard of what when.

``scenarios``: what goes wrong, and which alert is expected · ``sabotage``: the wrong thing, done inside the trainer ·
``play``: everything at the same time, on one stack · ``board``: the outcome, as text and HTML.
"""
