"""Permissions for what operators do; the groups that hold them are made after each migration."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    """Changes no table: Django makes the permissions from these options."""

    dependencies: ClassVar = [("executions", "0006_add_debounce")]

    operations: ClassVar = [
        migrations.AlterModelOptions(
            name="run",
            options={
                "ordering": ("-id",),
                "permissions": (
                    ("cancel_run", "Can cancel runs"),
                    ("terminate_run", "Can terminate runs"),
                    ("pause_run", "Can pause and resume runs"),
                    ("release_run", "Can release runs that need attention"),
                    ("replay_run", "Can replay and fork runs"),
                ),
            },
        ),
        migrations.AlterModelOptions(
            name="waittoken",
            options={
                "ordering": ("-id",),
                "permissions": (("complete_waittoken", "Can complete wait tokens"),),
            },
        ),
        migrations.AlterModelOptions(
            name="queue",
            options={
                "ordering": ("name",),
                "permissions": (("manage_queue", "Can pause, resume and limit queues"),),
            },
        ),
    ]
