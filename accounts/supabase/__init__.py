"""The verifier of Supabase access tokens.

from accounts import supabase

async with supabase.verifying():
identity = await supabase.verify(token)
"""

from accounts.supabase.identity import (
    ForbiddenIdentity,
    Identity,
    InvalidSupabaseToken,
    Rejection,
    SupabaseUnavailable,
)
from accounts.supabase.verifier import SupabaseVerifier, has_keys, verify, verifying, why_not_ready

__all__ = [
    "ForbiddenIdentity",
    "Identity",
    "InvalidSupabaseToken",
    "Rejection",
    "SupabaseUnavailable",
    "SupabaseVerifier",
    "has_keys",
    "verify",
    "verifying",
    "why_not_ready",
]
