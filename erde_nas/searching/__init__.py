"""What all candidates share in, trained and judged students out: ask, evaluate, store, tell, train the shortlist."""
