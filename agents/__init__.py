"""The app `agents`: conversations with a model, run as tasks."""
