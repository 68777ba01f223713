"""The management API, in the words of Trigger.dev v4: its SDK talks to this unmodified."""
