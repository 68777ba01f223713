"""Tests of the sandbox, with programs that mean harm."""
