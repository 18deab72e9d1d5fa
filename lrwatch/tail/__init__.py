"""``lrwatch tail``: the agent for trainers that cannot be changed. It reads what they print, while they print it.

Text arrives (``sources``), is recognised (``recognise``), becomes the items of a trace (``rows``), and drives the same
worker as in a training loop (``follow``).
"""
