"""Distillation: the teacher, the losses, and training with logits that are computed once for all students."""
