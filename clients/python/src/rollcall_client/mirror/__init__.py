"""Keeps the tenants, users, groups, members and roles of a deployment in tables of the application's database."""

from .mirror import Mirror
from .storage import connect_sqlite

__all__ = ["Mirror", "connect_sqlite"]
