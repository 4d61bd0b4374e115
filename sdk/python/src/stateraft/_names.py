"""Names of the workflows of adapters: PREFIX:ID."""

from __future__ import annotations


def check_prefix(prefix: str) -> str:
    """Refuse a prefix with a colon: a:b and c would be the same workflow as a and b:c."""
    if ":" in prefix:
        raise ValueError(f"a prefix has no colon, unlike {prefix!r}")
    return prefix
