"""The agent: what runs inside a training process. ``watch`` is its front door."""
