"""A trained network that stays as it is in, exits that learn from what it computes anyway out."""
