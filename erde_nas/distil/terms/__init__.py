"""The exchangeable distillation terms, one file each."""
