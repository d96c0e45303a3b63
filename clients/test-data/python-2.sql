-- A mirror's tables of the version 2, as the client for Python made them, with a person who is gone.
CREATE TABLE rollcall_tenants (
    incarnation TEXT PRIMARY KEY,
    tenant TEXT NOT NULL
);
CREATE TABLE rollcall_users (
    incarnation TEXT NOT NULL,
    id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    display_name TEXT,
    email TEXT,
    active INTEGER NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0,
    version BIGINT NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (incarnation, id)
);
CREATE INDEX rollcall_users_by_name ON rollcall_users (user_name);
CREATE TABLE rollcall_groups (
    incarnation TEXT NOT NULL,
    id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    version BIGINT NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (incarnation, id)
);
CREATE TABLE rollcall_members (
    incarnation TEXT NOT NULL,
    group_id TEXT NOT NULL,
    member_id TEXT NOT NULL,
    PRIMARY KEY (incarnation, group_id, member_id)
);
CREATE INDEX rollcall_members_by_member ON rollcall_members (incarnation, member_id);
CREATE TABLE rollcall_assignments (
    incarnation TEXT NOT NULL,
    group_id TEXT NOT NULL,
    team TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (incarnation, group_id, team, role)
);
CREATE TABLE rollcall_definitions (
    incarnation TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    version BIGINT NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (incarnation, kind, id)
);
CREATE TABLE rollcall_grants (
    incarnation TEXT NOT NULL,
    role_id TEXT NOT NULL,
    team TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (incarnation, role_id, team, role)
);
CREATE TABLE rollcall_user_roles (
    incarnation TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role_id TEXT NOT NULL,
    PRIMARY KEY (incarnation, user_id, role_id)
);
CREATE TABLE rollcall_resyncs (
    incarnation TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    seq BIGINT NOT NULL
);
CREATE TABLE rollcall_position (
    id INTEGER PRIMARY KEY,
    position TEXT NOT NULL,
    seq BIGINT NOT NULL
);
INSERT INTO rollcall_position (id, position, seq) VALUES (1, '0123456789abcdef-7', 7);
CREATE VIEW rollcall_current_users AS
SELECT t.tenant, u.* FROM rollcall_users u JOIN rollcall_tenants t ON t.incarnation = u.incarnation WHERE u.hidden = 0;
CREATE VIEW rollcall_current_groups AS
SELECT t.tenant, g.* FROM rollcall_groups g JOIN rollcall_tenants t ON t.incarnation = g.incarnation;
CREATE VIEW rollcall_current_members AS
SELECT t.tenant, m.incarnation, m.group_id, m.member_id AS user_id
FROM rollcall_members m
JOIN rollcall_tenants t ON t.incarnation = m.incarnation
JOIN rollcall_groups g ON g.incarnation = m.incarnation AND g.id = m.group_id
JOIN rollcall_users u ON u.incarnation = m.incarnation AND u.id = m.member_id
WHERE u.hidden = 0;
CREATE VIEW rollcall_current_definitions AS
SELECT t.tenant, d.* FROM rollcall_definitions d JOIN rollcall_tenants t ON t.incarnation = d.incarnation;
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
CREATE TABLE rollcall_schema (version INTEGER PRIMARY KEY);
INSERT INTO rollcall_schema (version) VALUES (2);
INSERT INTO rollcall_tenants (incarnation, tenant) VALUES ('old', 'demo');
INSERT INTO rollcall_users (incarnation, id, user_name, active, version, resource)
    VALUES ('old', 'u', 'gone@example.com', 1, 1, '{}');
INSERT INTO rollcall_groups (incarnation, id, display_name, version, resource) VALUES ('old', 'g', 'Gone', 1, '{}');
INSERT INTO rollcall_members (incarnation, group_id, member_id) VALUES ('old', 'g', 'u');
