// The SQL of the tables. The client for Python has the same text, so both make the same tables.

/** Counts the changes of the tables and views. Tables of an earlier version are made anew by a snapshot. */
export const SCHEMA_VERSION = 4;

export const SCHEMA = `-- The tables of the mirror, for SQLite and PostgreSQL. The clients for Python and TypeScript have the same text.
--
-- The incarnation tells a tenant from an earlier or later one of the same name.
-- There are no foreign keys: the changes of different users and groups have no order between them. So a row may name a
-- user, a group or a tenant that is not there yet. The views below show only what is complete.

-- One row: how far the mirror is. It changes in the transaction that changes the other tables.
CREATE TABLE IF NOT EXISTS rollcall_mirror_state (
    id INTEGER PRIMARY KEY,             -- always 1
    schema_version INTEGER NOT NULL,    -- that of the other tables; a mirror of a later version makes them anew
    position TEXT NOT NULL,             -- empty before the first snapshot
    seq BIGINT NOT NULL,                -- the number of the last change; 0 after a snapshot
    staging TEXT NOT NULL               -- which process takes a snapshot, if its staging tables are not temporary
);

CREATE TABLE rollcall_tenants (
    incarnation TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,               -- its name
    root_team TEXT                      -- the group whose administrators administer the tenant
);

CREATE TABLE rollcall_users (
    incarnation TEXT NOT NULL,
    id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    user_name_key TEXT NOT NULL,        -- the form in which user names compare
    external_id TEXT,                   -- the identity provider's own id of the user
    display_name TEXT,
    email TEXT,                         -- the primary address, or the first
    active INTEGER NOT NULL,            -- 1: may log in, 0: may not
    hidden INTEGER NOT NULL,            -- 1: Rollcall keeps the account but shows it to nobody; active is 0
    version BIGINT NOT NULL,
    resource TEXT NOT NULL,             -- the SCIM user as JSON, without groups and roles
    PRIMARY KEY (incarnation, id)
);
-- PostgreSQL makes the indexes of one column as hash indexes, which take texts of any length.
CREATE INDEX rollcall_users_by_name ON rollcall_users (user_name_key);
CREATE INDEX rollcall_users_by_external_id ON rollcall_users (external_id);

CREATE TABLE rollcall_groups (
    incarnation TEXT NOT NULL,
    id TEXT NOT NULL,
    external_id TEXT,                   -- the identity provider's own id of the group
    display_name TEXT NOT NULL,
    version BIGINT NOT NULL,
    resource TEXT NOT NULL,             -- the SCIM group as JSON, without members
    PRIMARY KEY (incarnation, id)
);
CREATE INDEX rollcall_groups_by_external_id ON rollcall_groups (external_id);

CREATE TABLE rollcall_members (
    incarnation TEXT NOT NULL,
    group_id TEXT NOT NULL,
    member_id TEXT NOT NULL,            -- a user, or a group within the group
    PRIMARY KEY (incarnation, group_id, member_id)
);
CREATE INDEX rollcall_members_by_member ON rollcall_members (incarnation, member_id);

-- The roles that the members of a group have.
CREATE TABLE rollcall_assignments (
    incarnation TEXT NOT NULL,
    group_id TEXT NOT NULL,
    team TEXT NOT NULL,                 -- the group in which the role counts
    role TEXT NOT NULL,
    PRIMARY KEY (incarnation, group_id, team, role)
);

-- Roles and entitlements that the product or the operator has defined.
CREATE TABLE rollcall_definitions (
    incarnation TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- Role or Entitlement
    id TEXT NOT NULL,                   -- also the value that names it in a user
    display_name TEXT NOT NULL,
    version BIGINT NOT NULL,
    resource TEXT NOT NULL,             -- it as JSON
    PRIMARY KEY (incarnation, kind, id)
);

-- What roles grant to their users.
CREATE TABLE rollcall_grants (
    incarnation TEXT NOT NULL,
    role_id TEXT NOT NULL,              -- in lower case
    team TEXT NOT NULL,                 -- the group in which the role counts
    role TEXT NOT NULL,
    PRIMARY KEY (incarnation, role_id, team, role)
);

-- The values of the users' roles that can be ids of roles. A value that is not the id of a role grants nothing.
CREATE TABLE rollcall_user_roles (
    incarnation TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role_id TEXT NOT NULL,              -- in lower case, since case does not count
    PRIMARY KEY (incarnation, user_id, role_id)
);

-- Tenants that the mirror reads again, after tenant.resync for example.
CREATE TABLE rollcall_resyncs (
    incarnation TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    seq BIGINT NOT NULL,                -- the last time is when a snapshot of now begins after this change
    taken INTEGER NOT NULL              -- 1: it needs no snapshot before that
);

-- What an application reads.

CREATE VIEW rollcall_current_users AS
SELECT t.tenant, u.* FROM rollcall_users u JOIN rollcall_tenants t ON t.incarnation = u.incarnation WHERE u.hidden = 0;

CREATE VIEW rollcall_current_groups AS
SELECT t.tenant, g.* FROM rollcall_groups g JOIN rollcall_tenants t ON t.incarnation = g.incarnation;

-- The users in each group.
CREATE VIEW rollcall_current_members AS
SELECT t.tenant, m.incarnation, m.group_id, m.member_id AS user_id
FROM rollcall_members m
JOIN rollcall_tenants t ON t.incarnation = m.incarnation
JOIN rollcall_groups g ON g.incarnation = m.incarnation AND g.id = m.group_id
JOIN rollcall_users u ON u.incarnation = m.incarnation AND u.id = m.member_id
WHERE u.hidden = 0;

-- The groups in each group. They grant nothing to their members.
CREATE VIEW rollcall_current_subgroups AS
SELECT t.tenant, m.incarnation, m.group_id, m.member_id AS subgroup_id
FROM rollcall_members m
JOIN rollcall_tenants t ON t.incarnation = m.incarnation
JOIN rollcall_groups g ON g.incarnation = m.incarnation AND g.id = m.group_id
JOIN rollcall_groups s ON s.incarnation = m.incarnation AND s.id = m.member_id;

CREATE VIEW rollcall_current_definitions AS
SELECT t.tenant, d.* FROM rollcall_definitions d JOIN rollcall_tenants t ON t.incarnation = d.incarnation;

-- Effective roles: who may do what now, by groups and by roles.
CREATE VIEW rollcall_current_roles AS
SELECT m.tenant, m.incarnation, m.user_id, a.team, a.role
FROM rollcall_current_members m
JOIN rollcall_users u ON u.incarnation = m.incarnation AND u.id = m.user_id
JOIN rollcall_assignments a ON a.incarnation = m.incarnation AND a.group_id = m.group_id
WHERE u.active = 1
UNION
SELECT u.tenant, u.incarnation, u.id AS user_id, g.team, g.role
FROM rollcall_current_users u
JOIN rollcall_user_roles r ON r.incarnation = u.incarnation AND r.user_id = u.id
JOIN rollcall_grants g ON g.incarnation = u.incarnation AND g.role_id = r.role_id
WHERE u.active = 1;
`;
