"""Where candidates are evaluated: in this process, in several on this machine, or on a cluster."""
