"""Finished students in, smaller ones and their int8 form out."""
