"""An architecture in, an early-exit network out: its weights, its MACs, the points at which its exit rule works."""
