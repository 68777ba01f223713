"""Proofs that take too long, or kill too much, for the test suite; each has a small size there."""
