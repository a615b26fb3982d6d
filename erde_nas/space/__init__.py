"""A recipe's space in, architectures and their variation out; what was tried, as trials."""
