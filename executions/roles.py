"""Three groups for operators, each with no more permissions than its work needs."""

from __future__ import annotations

from typing import Any, Final

from django.apps import AppConfig, apps
from django.contrib.auth.models import Group, Permission

_LOOK: Final = frozenset(
    {"view_run", "view_waittoken", "view_queue", "view_worker", "view_workflow",
     "view_workflowversion"}
)  # fmt: skip
_OPERATE: Final = frozenset(
    {"cancel_run", "pause_run", "release_run", "replay_run", "complete_waittoken"}
)
_GOVERN: Final = frozenset(
    {"terminate_run", "manage_queue", "view_auditentry", "view_connection", "view_apidescription"}
)

ROLES: Final = {
    "viewer": _LOOK,
    "operator": _LOOK | _OPERATE,
    "admin": _LOOK | _OPERATE | _GOVERN,
}
"""Permissions of this app by group. Who wants other sets makes groups of other names."""


def ensure_groups() -> None:
    """Makes the groups, and gives each exactly these permissions of this app.

    Permissions of other apps that somebody gave to a group stay with it.
    """
    found = Permission.objects.filter(content_type__app_label="executions")
    ids = dict(found.values_list("codename", "pk"))
    for name, codenames in ROLES.items():
        group, _ = Group.objects.get_or_create(name=name)
        held = set(group.permissions.filter(pk__in=ids.values()).values_list("pk", flat=True))
        wanted = {ids[codename] for codename in codenames if codename in ids}
        if wanted - held:
            group.permissions.add(*wanted - held)
        if held - wanted:
            group.permissions.remove(*held - wanted)


def after_migrate(sender: AppConfig, **options: Any) -> None:
    """Sees to the groups once the permissions are there."""
    # The tables as they are after this migration; after a flush all are there.
    state = options.get("apps", apps)
    if "group" in state.all_models["auth"]:
        ensure_groups()
