"""What a recipe says of the teacher in, a network that answers and its cached logits out."""
