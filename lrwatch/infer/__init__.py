"""Which schedule did this run follow? The plainest one that gives every recorded value, and what else would."""
