"""The records of pareto.json: operating points, their latencies, the report; and how they are read and written."""
