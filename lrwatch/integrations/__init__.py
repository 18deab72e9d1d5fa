"""One file per framework: how its objects reach the agent, and what can be told before training begins."""
