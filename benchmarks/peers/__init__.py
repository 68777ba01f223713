"""The engines FlowMaestro is measured beside; each module runs in that peer's own environment."""
