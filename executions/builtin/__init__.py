"""The tasks that come with the engine, beside the interpreter of workflows."""
