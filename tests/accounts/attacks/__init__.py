"""The attack table: each row a token that must not become a session.

`ATTACKS` holds them all. They are refused whatever the project signs with and however legacy
tokens are checked here: with the shared secret, by the Auth server, or not at all.
"""

from tests.accounts.attacks.attack import Attack
from tests.accounts.attacks.claims import CLAIMS
from tests.accounts.attacks.form import FORM
from tests.accounts.attacks.header import HEADER
from tests.accounts.attacks.kinds import KINDS
from tests.accounts.attacks.signature import SIGNATURE

ATTACKS: list[Attack] = [*FORM, *HEADER, *SIGNATURE, *CLAIMS, *KINDS]

__all__ = ["ATTACKS", "Attack"]
