"""What must not be shown of a configuration: values of keys that hold secrets, and values that came from a provider.

Used by: the readers of keys and client settings, which put `shown(...)` into their messages.
Not here: hiding secrets in log lines (engine.logs).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from engine.api.config import HIDDEN
from engine.api.errors import Problem

__all__ = ["is_secret", "masked", "shown"]

_SECRET_ENDINGS = (
    "password",
    "passphrase",
    "secret",
    "jaas.config",
    "ssl.keystore.key",
    "ssl.key.pem",
    "private.key.pem",
    "sasl.oauthbearer.config",
    "token",
    "auth.user.info",
)
#: A shorter secret is hidden where it stands as a value, but not looked for in sentences: it would hide half of them.
_FINDABLE_LENGTH = 4


def is_secret(key: str) -> bool:
    """Whether a key of this name holds what nobody should see."""
    return key.lower().endswith(_SECRET_ENDINGS)


def shown(key: str, value: str, secrets: Collection[str] = ()) -> str:
    """The value as a message may hold it. secrets: values that came from a provider."""
    return HIDDEN if is_secret(key) or value in secrets else value


def masked(problems: Iterable[Problem], secrets: Collection[str]) -> list[Problem]:
    """The same problems, with every secret in their messages hidden."""
    answer = []
    for problem in problems:
        message = problem.message
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= _FINDABLE_LENGTH:
                message = message.replace(secret, HIDDEN)
            elif secret:
                message = message.replace(f"Invalid value {secret} for", f"Invalid value {HIDDEN} for")
        answer.append(msgspec.structs.replace(problem, message=message))
    return answer
