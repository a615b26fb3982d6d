"""A user's `torch.export` program in, a plain graph for any number of inputs out."""
