"""The trace: what the trainer really did, row by row, and the events between the rows."""
