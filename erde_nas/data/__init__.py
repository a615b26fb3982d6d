"""Data sets, their splits, and the augmented views that all candidates share."""
