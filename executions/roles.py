"""Three groups for operators, each with no more permissions than its work needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.apps import AppConfig, apps
from django.contrib.auth.models import Group, Permission
from django.db.models.signals import post_migrate

_LOOK: Final = frozenset(
    {"view_run", "view_waittoken", "view_queue", "view_worker", "view_workflow",
     "view_workflowversion"}
)  # fmt: skip
_OPERATE: Final = frozenset(
    {"cancel_run", "pause_run", "release_run", "replay_run", "complete_waittoken"}
)
_GOVERN: Final = frozenset(
    {
        "terminate_run",
        "manage_queue",
        "view_auditentry",
        "view_connection",
        "view_apidescription",
        "view_workspace",
        "view_membership",
    }
)

ROLES: Final = {
    "viewer": _LOOK,
    "operator": _LOOK | _OPERATE,
    "admin": _LOOK | _OPERATE | _GOVERN,
}
"""Permissions of this app by group. Who wants other sets makes groups of other names."""

_roles: dict[str, Mapping[str, frozenset[str]]] = {"executions": ROLES}


def register(app: AppConfig, roles: Mapping[str, frozenset[str]]) -> None:
    """Gives the groups permissions of another app, as soon as that app's tables are there."""
    _roles[app.label] = roles
    post_migrate.connect(after_migrate, sender=app, dispatch_uid=f"{app.label}.roles")


def ensure_groups() -> None:
    """Makes the groups, and gives each exactly the permissions that our apps list for it.

    Permissions of other apps that somebody gave to a group stay with it.
    """
    for label, roles in _roles.items():
        _ensure_groups(label, roles)


def _ensure_groups(app_label: str, roles: Mapping[str, frozenset[str]]) -> None:
    found = Permission.objects.filter(content_type__app_label=app_label)
    ids = dict(found.values_list("codename", "pk"))
    for name, codenames in roles.items():
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
