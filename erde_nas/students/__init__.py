"""Early-exit networks: blocks, exit heads, families, and the one class that runs them all."""
