"""A folder in, its run out: what is finished, its study, and what every stage is handed."""
