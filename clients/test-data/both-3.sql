-- A mirror's tables of the version 3, as both clients made them, with a person who is gone. The spaces at ends of lines are
-- as the clients made them.
CREATE TABLE rollcall_mirror_state (
    id INTEGER PRIMARY KEY,             
    schema_version INTEGER NOT NULL,    
    position TEXT NOT NULL,             
    seq BIGINT NOT NULL,                
    staging TEXT NOT NULL               
);
CREATE TABLE rollcall_tenants (
    incarnation TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    root_team TEXT
);
CREATE TABLE rollcall_users (
    incarnation TEXT NOT NULL,
    id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    user_name_key TEXT NOT NULL,
    external_id TEXT,
    display_name TEXT,
    email TEXT,
    active INTEGER NOT NULL,
    hidden INTEGER NOT NULL,
    version BIGINT NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (incarnation, id)
);
CREATE INDEX rollcall_users_by_name ON rollcall_users (user_name_key);
CREATE INDEX rollcall_users_by_external_id ON rollcall_users (external_id);
CREATE TABLE rollcall_groups (
    incarnation TEXT NOT NULL,
    id TEXT NOT NULL,
    external_id TEXT,
    display_name TEXT NOT NULL,
    version BIGINT NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (incarnation, id)
);
CREATE INDEX rollcall_groups_by_external_id ON rollcall_groups (external_id);
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
    seq BIGINT NOT NULL,
    taken INTEGER NOT NULL
);
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
CREATE VIEW rollcall_current_subgroups AS
SELECT t.tenant, m.incarnation, m.group_id, m.member_id AS subgroup_id
FROM rollcall_members m
JOIN rollcall_tenants t ON t.incarnation = m.incarnation
JOIN rollcall_groups g ON g.incarnation = m.incarnation AND g.id = m.group_id
JOIN rollcall_groups s ON s.incarnation = m.incarnation AND s.id = m.member_id;
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
INSERT INTO rollcall_mirror_state (id, schema_version, position, seq, staging) VALUES (1, 3, '0123456789abcdef-7', 7, '');
INSERT INTO rollcall_tenants (incarnation, tenant) VALUES ('old', 'demo');
INSERT INTO rollcall_users (incarnation, id, user_name, user_name_key, active, hidden, version, resource)
    VALUES ('old', 'u', 'gone@example.com', 'gone@example.com', 1, 0, 1, '{}');
INSERT INTO rollcall_groups (incarnation, id, display_name, version, resource) VALUES ('old', 'g', 'Gone', 1, '{}');
INSERT INTO rollcall_members (incarnation, group_id, member_id) VALUES ('old', 'g', 'u');
