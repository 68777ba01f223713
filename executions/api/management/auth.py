"""What a client needs to sign public tokens with its API key."""

from __future__ import annotations

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from executions import public_access
from executions.api.management.base import ManagementView


class Claims(ManagementView):
    """POST /api/v1/auth/jwt/claims"""

    # They reveal nothing, and a token never may more than its key.
    scopes: ClassVar = {"POST": None}

    def post(self, request: Request) -> Response:
        """The claims that a public token signed with this key must have, beside its scopes."""
        return Response(public_access.claims(self.caller))
