"""What a stage has done in, a line with the time left out."""
