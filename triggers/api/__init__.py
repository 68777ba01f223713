"""Triggers, schedules, webhooks and events over HTTP."""
