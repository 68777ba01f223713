"""FlowMaestro's speed beside its peers: `python -m benchmarks`; workloads.py says what is timed.

Importing this package needs the standard library alone, since each peer imports it from its own
virtual environment.
"""
