"""How runs and tokens are looked at: lists, details, logs, traces, ends, two side by side."""
