"""A user's own trained network in; modules that hold its weights, and the places where it can be cut, out."""
