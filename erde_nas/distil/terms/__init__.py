"""A step's logits and features in, a loss per image out: the exchangeable terms of distillation, a file each."""
