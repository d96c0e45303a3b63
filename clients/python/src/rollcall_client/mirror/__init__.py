"""Keeps the tenants, users, groups, members and roles of a deployment in tables of the application's database."""

from .mirror import Mirror, TenantKeepsChanging
from .names import user_name_key
from .storage import LaterTables, connect_sqlite

__all__ = ["LaterTables", "Mirror", "TenantKeepsChanging", "connect_sqlite", "user_name_key"]
