"""Who may do what: every route of the API × everybody who may come, from one table.

A route that is not in the table fails the test, and so does one that is there no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.test.utils import override_settings

from executions import workspaces
from executions.access import Caller
from executions.rules.scopes import EVERY_SCOPE, Role, Scope
from executions.tests.people import person
from flowmaestro import keys, public_tokens
from flowmaestro.models import ApiKey
from flowmaestro.tests.stock import Good, Stock, routes

METHODS = ("get", "post", "put", "patch", "delete")

# takes: the scope; `admin+` is for who sees all workspaces, `key` for any key, `-` for anybody.
# others: what who may everything in another workspace is answered; `own` is their own, and with
# `!` who sees all workspaces is answered so, too: what it is about is looked for in their own.
# token: the scope of a public token that is let through.
TABLE = """
METHOD  PATH                                                  TAKES     OTHERS  TOKEN
GET     schema/                                               -         own
GET     docs/                                                 -         own

GET     workflows                                             read      own
POST    workflows                                             admin     own
POST    workflows/execute                                     trigger   own
POST    workflows/validate                                    read      own
GET     workflows/{workflow_id}                               read      404
PUT     workflows/{workflow_id}                               admin     404
PATCH   workflows/{workflow_id}                               admin     404
DELETE  workflows/{workflow_id}                               admin     404
POST    workflows/{workflow_id}/execute                       trigger   404
POST    workflows/{workflow_id}/validate                      read      404
GET     workflows/{workflow_id}/versions                      read      404
GET     workflows/{workflow_id}/versions/{version}            read      404
POST    workflows/{workflow_id}/versions/{version}/revert     admin     404

GET     executions                                            read      own
GET     executions/compare                                    read      404
GET     executions/{run_id}                                   read      404     read:runs:{run_id}
GET     executions/{run_id}/nodes                             read      404     read:runs:{run_id}
GET     executions/{run_id}/steps                             read      404     read:runs:{run_id}
GET     executions/{run_id}/events                            read      404     read:runs:{run_id}
GET     executions/{run_id}/logs                              read      404     read:runs:{run_id}
POST    executions/{run_id}/cancel                            cancel    404
POST    executions/{run_id}/terminate                         cancel    404
POST    executions/{run_id}/pause                             cancel    404
POST    executions/{run_id}/resume                            cancel    404
POST    executions/{run_id}/release                           cancel    404
POST    executions/{run_id}/replay                            replay    404
POST    executions/{run_id}/fork                              replay    404
POST    executions/{run_id}/submit-response                   complete  404
POST    executions/{run_id}/submit-input                      complete  404

GET     templates                                             read      own
GET     templates/categories                                  read      own
GET     templates/{slug}                                      read      own
POST    templates/{slug}/copy                                 admin     own
GET     node-types                                            read      own
GET     node-types/{name}                                     read      own
GET     tasks                                                 read      own
GET     tasks/{task_id}                                       read      own

GET     connections                                           read      own
POST    connections                                           admin     own
GET     connections/{connection_id}                           read      404
PATCH   connections/{connection_id}                           admin     404
DELETE  connections/{connection_id}                           admin     404
POST    connections/{connection_id}/revoke                    admin     404

GET     triggers                                              read      own
POST    triggers                                              admin     404!
GET     triggers/{trigger_id}                                 read      404
PUT     triggers/{trigger_id}                                 admin     404
PATCH   triggers/{trigger_id}                                 admin     404
DELETE  triggers/{trigger_id}                                 admin     404
POST    triggers/{trigger_id}/execute                         trigger   404
POST    triggers/{trigger_id}/rotate-secret                   admin     404
GET     triggers/{trigger_id}/deliveries                      read      404
POST    events                                                trigger   own

GET     keys                                                  admin     own
POST    keys                                                  admin     own
DELETE  keys/{key_id}                                         admin     404
GET     workspaces                                            read      own
POST    workspaces                                            admin     own
GET     workspaces/{workspace_id}/members                     read      404
PUT     workspaces/{workspace_id}/members/{user}              admin     404
DELETE  workspaces/{workspace_id}/members/{user}              admin     404

POST    v1/auth/jwt/claims                                    key       own
POST    v1/tasks/{task}/trigger                               trigger   own     trigger:tasks:{task}
POST    v1/tasks/{task}/batch                                 trigger   own     batchTrigger:tasks:{task}
POST    v1/tasks/batch                                        trigger   own     batchTrigger:tasks
POST    v2/tasks/batch                                        trigger   own     batchTrigger:tasks
PUT     v2/packets/{name}                                     trigger   own     trigger:tasks
PUT     v1/uploads/{word}                                     -         own
POST    v3/batches                                            trigger   own     batchTrigger:tasks
POST    v3/batches/{batch_id}/items                           trigger   404     batchTrigger:tasks
GET     v1/batches/{batch_id}                                 read      404     read:batch:{batch_id}
GET     v2/batches/{batch_id}                                 read      404     read:batch:{batch_id}
GET     v1/batches/{batch_id}/results                         read      404     read:batch:{batch_id}

GET     v1/runs                                               read      own     read:runs
GET     v3/runs/{run_id}                                      read      404     read:runs:{run_id}
GET     v1/runs/{run_id}/result                               read      404     read:runs:{run_id}
GET     v1/runs/{run_id}/metadata                             read      404     read:runs:{run_id}
PUT     v1/runs/{run_id}/metadata                             trigger   404
GET     v1/runs/{run_id}/trace                                read      404     read:runs:{run_id}
GET     v1/runs/{run_id}/spans/{span_id}                      read      404     read:runs:{run_id}
GET     v1/runs/{run_id}/events                               read      404     read:runs:{run_id}
POST    v2/runs/{run_id}/cancel                               cancel    404
POST    v1/runs/{run_id}/replay                               replay    404
POST    v1/runs/{run_id}/reschedule                           trigger   404
POST    v1/runs/{run_id}/tags                                 trigger   404

GET     v1/waitpoints/tokens                                  read      own     read:waitpoints
POST    v1/waitpoints/tokens                                  trigger   own
GET     v1/waitpoints/tokens/{token_id}                       read      404     read:waitpoints:{token_id}
POST    v1/waitpoints/tokens/{token_id}/complete              complete  404     write:waitpoints:{token_id}
POST    v1/waitpoints/tokens/{token_id}/callback/{secret}     -         own

GET     v1/queues                                             read      own
GET     v1/queues/{name}                                      read      own
POST    v1/queues/{name}/pause                                admin+    403
POST    v1/queues/{name}/concurrency/override                 admin+    403
POST    v1/queues/{name}/concurrency/reset                    admin+    403
POST    v1/idempotencyKeys/{key}/reset                        trigger   404!

GET     v1/timezones                                          -         own
GET     v1/schedules                                          read      own
POST    v1/schedules                                          admin     own
GET     v1/schedules/{schedule_id}                            read      404
PUT     v1/schedules/{schedule_id}                            admin     404
DELETE  v1/schedules/{schedule_id}                            admin     404
POST    v1/schedules/{schedule_id}/activate                   admin     404
POST    v1/schedules/{schedule_id}/deactivate                 admin     404
"""  # noqa: E501 - a table


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of the table."""

    method: str
    path: str
    takes: str
    others: str
    token: str = ""

    @property
    def scope(self) -> Scope | None:
        """The scope that a key must have; none for what any may do."""
        name = {"admin+": "admin", "key": "", "-": ""}.get(self.takes, self.takes)
        return Scope(name) if name else None

    @property
    def is_open(self) -> bool:
        """Whether anybody may do it."""
        return self.takes == "-"


RULES = [
    Rule(method, f"/api/{path}", *rest)
    for method, path, *rest in map(str.split, filter(str.strip, TABLE.strip().splitlines()[1:]))
]
OK = "ok"
Expected = Callable[[Rule], Any]


def of_scopes(*scopes: Scope) -> Expected:
    """What a key of the workspace with these scopes is answered."""

    def expected(rule: Rule) -> Any:
        if rule.scope is None:
            return OK
        return OK if rule.scope in scopes and rule.takes != "admin+" else 403

    return expected


def of_others(rule: Rule) -> Any:
    """What somebody of another workspace is answered."""
    return OK if rule.others == "own" else int(rule.others.rstrip("!"))


def of_person(expected: Expected) -> Expected:
    """The same for somebody who is signed in, and has no key."""
    return lambda rule: 403 if rule.takes == "key" else expected(rule)


def of_token(is_right: bool) -> Expected:
    """What the holder of a public token is answered; one that is not for this opens nothing."""

    def expected(rule: Rule) -> Any:
        return OK if rule.is_open or (is_right and rule.token) else 403

    return expected


class Place:
    """A workspace with something of every kind, and everybody who comes to it."""

    def __init__(self) -> None:
        self.handler = Client().handler
        self.owner = person("ada")
        self.stock = Stock(self.owner)
        self.stranger = person("bo")
        self.home = workspaces.personal(self.stranger.pk).id
        staff = person("boss", is_staff=True)
        here = self.stock.workspace
        self.keys = {
            "owner": self.stock.key,
            "stranger": self._key(self.stranger, self.home),
            "staff": self._key(staff, None, all_workspaces=True),
            **{scope.value: self._key(self.owner, here, [scope.value]) for scope in Scope},
        }
        for role in Role:
            member = person(role.value)
            workspaces.set_role(here, member.pk, role)
            self.keys[f"role {role.value}"] = self._key(member, here)
        self.keys["revoked"] = self._key(self.owner, here)
        keys.revoke(ApiKey.objects.latest("id").pk)
        self.row = ApiKey.objects.get(key_hash=ApiKey.hash_of(self.stock.key))

    def _key(self, user: Any, workspace: str | None, scopes: Any = ("*",), **more: Any) -> str:
        return keys.issue(user, name="k", scopes=list(scopes), workspace=workspace, **more)[1]

    def client(self, who: str, rule: Rule, good: Good) -> Client:
        """A client with what the visitor shows."""
        client = Client()
        # It takes longer to make than to answer.
        client.handler = self.handler
        if who.startswith("session"):
            client.force_login(self.stranger if "stranger" in who else self.owner)
            if who == "session stranger elsewhere":
                client.defaults["HTTP_X_WORKSPACE_ID"] = self.stock.workspace
        elif who != "nobody":
            key = self._token(who, rule, good) if who.startswith("token") else self.keys.get(who)
            client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {key or 'fm_unknown'}"
        return client

    def _token(self, who: str, rule: Rule, good: Good) -> str:
        """A public token, signed with the owner's key."""
        scope = rule.token.format_map(good.parameters) or "read:runs:run_0"
        scopes = {"token wrong": "read:runs:run_0", "token admin": "admin", "token right": scope}
        caller = Caller(
            name="a server", user_id=self.owner.pk, workspace_id=self.stock.workspace,
            scopes=EVERY_SCOPE, key_id=self.row.pk,
        )  # fmt: skip
        return public_tokens.sign(caller, [scopes[who]], seconds=60)


WHO: dict[str, Expected] = {
    "nobody": lambda rule: OK if rule.is_open else 401,
    "wrong key": lambda rule: OK if rule.is_open else 401,
    "revoked": lambda rule: OK if rule.is_open else 401,
    "owner": of_scopes(*EVERY_SCOPE),
    "stranger": of_others,
    "staff": lambda rule: of_others(rule) if rule.others.endswith("!") else OK,
    **{scope.value: of_scopes(scope) for scope in Scope},
    "role viewer": of_scopes(Scope.READ),
    "role member": of_scopes(*(EVERY_SCOPE - {Scope.ADMIN})),
    "role admin": of_scopes(*EVERY_SCOPE),
    "session owner": of_person(of_scopes(*EVERY_SCOPE)),
    "session stranger": of_person(of_others),
    "session stranger elsewhere": lambda rule: OK if rule.is_open else 404,
    "token wrong": of_token(False),
    "token right": of_token(True),
    # It is for whatever public tokens may do, and for nothing else.
    "token admin": of_token(True),
}


@pytest.fixture(scope="module")
def db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """One transaction for all tests, each of which takes back what it did."""
    options = settings.FLOWMAESTRO
    no_limits: dict[str, Any] = {
        field.name: 0 for field in dataclasses.fields(options)
        if field.name.startswith("RATE_LIMIT_") and field.type == "int"
    }  # fmt: skip
    with (
        django_db_blocker.unblock(),
        override_settings(FLOWMAESTRO=dataclasses.replace(options, **no_limits)),
        transaction.atomic(),
    ):
        yield
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def place(db: None) -> Place:
    """The workspace and its visitors, made once."""
    return Place()


def test_the_table_has_every_route_and_no_other():
    there = {
        (method.upper(), path)
        for path, view in routes()
        for method in METHODS
        if hasattr(view, method)
    }
    listed = {(rule.method, rule.path) for rule in RULES}
    assert listed == there
    assert len(RULES) == len(listed)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.method} {rule.path}")
def test_everybody_is_answered_as_the_table_says(place: Place, rule: Rule) -> None:
    found, wanted = {}, {}
    for who, expected in WHO.items():
        with transaction.atomic():
            good = place.stock.good(rule.method, rule.path)
            client = place.client(who, rule, good)
            body = {} if good.body is None else {"data": good.body}
            if rule.method != "GET":
                body["content_type"] = good.content_type
            answer = getattr(client, rule.method.lower())(
                good.path, query_params=good.query, **body
            )
            status = answer.status_code
            found[who] = OK if 200 <= status < 300 else status
            wanted[who] = expected(rule)
            if found[who] == 403 and who not in ("nobody", "wrong key", "revoked"):
                assert answer.json()["success"] is False
            transaction.set_rollback(True)
    assert found == wanted
