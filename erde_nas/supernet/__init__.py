"""One-shot evaluation: one early-exit network per family is trained once, and every candidate is a slice of it."""
