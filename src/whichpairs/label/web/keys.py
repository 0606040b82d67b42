"""Who may: the run's secret, the links made from it, and the cookies that they are exchanged for.

Links are derived, not stored: whoever has the run folder can print them again, and the label store
holds nothing to break in with. An invitation's number is part of its link, so that one that was
revoked stays so.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from itsdangerous import BadSignature, URLSafeTimedSerializer

from whichpairs.errors import UserError
from whichpairs.label.stores.base import LabelStore
from whichpairs.run.files import write_whole

SESSION_DAYS = 30
Role = Literal["owner", "annotator"]


@dataclass(frozen=True)
class Session:
    """Somebody who was let in.

    Attributes:
        name: an annotator's; the owner's is empty.
        csrf: what their page sends back with everything that changes something.
    """

    role: Role
    name: str
    csrf: str


class Keys:
    """Links, cookies and who holds them.

    Args:
        secret: 32 random bytes of the run's.
        store: where invitations are written down.

    Attributes:
        invited: numbers of the invitations that stand, by annotator; revoked: told of whoever's is
            no more.
    """

    def __init__(self, secret: bytes, store: LabelStore) -> None:
        self._secret, self._store = secret, store
        self._signer = URLSafeTimedSerializer(self._derived("cookies"), salt="session")
        self.cookie = f"whichpairs_{self._derived('name')[:8]}"
        self.invited: dict[str, int] = {}
        self.revoked: list[Callable[[str], object]] = []
        self.reload()

    def reload(self) -> None:
        """Read who is invited: each by the number of the invitation that stands."""
        invited: dict[str, int] = {}
        for event in self._store.events("invited", "revoked"):
            assert event.annotator is not None
            if event.kind == "invited":
                invited[event.annotator] = event.event_id
            else:
                invited.pop(event.annotator, None)
        self.invited = invited

    def invite(self, name: str) -> str:
        """Invite somebody, who may be there already; the link's token."""
        if name not in self.invited:
            self._store.note("invited", name)
            self.reload()
        return self.token(name)

    def revoke(self, name: str) -> bool:
        """Nobody gets in by this invitation any more; what was lent comes back."""
        if name not in self.invited:
            return False
        self._store.note("revoked", name)
        self.reload()
        self._store.give_back(name)
        for tell in self.revoked:
            tell(name)
        return True

    def token(self, name: str) -> str:
        """The token in an annotator's link."""
        return self._derived(f"join\0{name}\0{self.invited[name]}")

    @property
    def owner_token(self) -> str:
        """The token in the owner's link."""
        return self._derived("owner")

    def join(self, token: str) -> str | None:
        """The cookie for a token; None where it is nobody's."""
        who: list[str | int] | None = None
        if hmac.compare_digest(token.encode(), self.owner_token.encode()):
            who = ["owner", "", 0]
        for name, number in self.invited.items():
            if hmac.compare_digest(token.encode(), self.token(name).encode()):
                who = ["annotator", name, number]
        return None if who is None else str(self._signer.dumps(who))

    def session(self, cookie: str | None) -> Session | None:
        """Whose a cookie is, if it still holds."""
        if not cookie or len(cookie) > 1000:
            return None
        try:
            role, name, number = self._signer.loads(cookie, max_age=SESSION_DAYS * 86_400)
        except (BadSignature, ValueError, TypeError):
            return None
        if role == "annotator" and self.invited.get(name) != number:
            return None
        return Session(role, name, self._derived(f"csrf\0{cookie}"))

    def _derived(self, purpose: str) -> str:
        digest = hmac.new(self._secret, purpose.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:24]).decode()


def read_secret(path: Path) -> bytes:
    """The run's secret, made at the first call; nobody but the file's owner may read it.

    Raises:
        UserError: the file is not what whichpairs wrote.
    """
    if not path.exists():
        write_whole(path, json.dumps({"secret": secrets.token_hex(32)}) + "\n")
        path.chmod(0o600)
    try:
        found = bytes.fromhex(json.loads(path.read_text(encoding="utf-8"))["secret"])
    except (ValueError, KeyError, TypeError):
        found = b""
    if len(found) != 32:
        rule = f"{path} must be what whichpairs wrote"
        raise UserError(rule, "it is not", "delete it: all invitations then get new links")
    return found
