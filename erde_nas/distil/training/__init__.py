"""Networks, views and an objective in, the same networks trained out, many at once."""
