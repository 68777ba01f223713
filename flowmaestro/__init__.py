"""FlowMaestro: durable runs of tasks, workflows and agents on Django and PostgreSQL."""

__version__ = "0.1.0"
