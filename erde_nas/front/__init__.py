"""The records of pareto.json: operating points, their latencies, and what is uncertain about these."""
