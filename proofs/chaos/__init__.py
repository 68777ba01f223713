"""Chaos: runs of every shape while processes are killed and the database comes and goes."""
