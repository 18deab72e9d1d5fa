"""``lrwatch ship``: every recorded step, with its own time, to a receiver of Prometheus remote write.

A process of its own, never a part of a training. It reads the trace files that the training leaves (``spool``), gives
each row a time that a shared server can take (``clock``), encodes (``encode``), sends (``remote``), and remembers how
far it came (``shipper``).
"""
