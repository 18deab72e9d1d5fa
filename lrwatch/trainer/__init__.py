"""The reference trainer behind ``lrwatch train``: a small GPT, data parallel, watched from its first update.

It is meant to be read and copied: everything a watched training loop needs and nothing else. ``launch.launch``
starts it; ``loop`` is the loop; ``schedule`` builds torch's own schedulers from a contract, so that
``lrwatch verify`` compares two independent computations; ``checkpoint`` resumes bit for bit; ``faults`` does
the wrong thing on request.
"""
