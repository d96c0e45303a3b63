-- A mirror's tables of the version 2, as the client for TypeScript made them, with a person who is gone.
CREATE TABLE rollcall_tenants (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, PRIMARY KEY (tenant, incarnation));
CREATE TABLE rollcall_users (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, id TEXT NOT NULL, user_name TEXT, display_name TEXT, email TEXT, external_id TEXT, active INTEGER NOT NULL, hidden INTEGER NOT NULL, version BIGINT NOT NULL, resource TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, id));
CREATE TABLE rollcall_groups (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, id TEXT NOT NULL, display_name TEXT, external_id TEXT, version BIGINT NOT NULL, resource TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, id));
CREATE TABLE rollcall_members (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, group_id TEXT NOT NULL, member_id TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, group_id, member_id));
CREATE TABLE rollcall_assignments (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, group_id TEXT NOT NULL, team TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, group_id, team, role));
CREATE TABLE rollcall_definitions (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, display_name TEXT, version BIGINT NOT NULL, resource TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, kind, id));
CREATE TABLE rollcall_grants (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, role_id TEXT NOT NULL, team TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, role_id, team, role));
CREATE TABLE rollcall_user_roles (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, user_id TEXT NOT NULL, role_id TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, user_id, role_id));
CREATE TABLE rollcall_staging_tenants (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, PRIMARY KEY (tenant, incarnation));
CREATE TABLE rollcall_staging_users (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, id TEXT NOT NULL, user_name TEXT, display_name TEXT, email TEXT, external_id TEXT, active INTEGER NOT NULL, hidden INTEGER NOT NULL, version BIGINT NOT NULL, resource TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, id));
CREATE TABLE rollcall_staging_groups (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, id TEXT NOT NULL, display_name TEXT, external_id TEXT, version BIGINT NOT NULL, resource TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, id));
CREATE TABLE rollcall_staging_members (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, group_id TEXT NOT NULL, member_id TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, group_id, member_id));
CREATE TABLE rollcall_staging_assignments (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, group_id TEXT NOT NULL, team TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, group_id, team, role));
CREATE TABLE rollcall_staging_definitions (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, display_name TEXT, version BIGINT NOT NULL, resource TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, kind, id));
CREATE TABLE rollcall_staging_grants (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, role_id TEXT NOT NULL, team TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, role_id, team, role));
CREATE TABLE rollcall_staging_user_roles (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, user_id TEXT NOT NULL, role_id TEXT NOT NULL, PRIMARY KEY (tenant, incarnation, user_id, role_id));
CREATE INDEX rollcall_members_by_member ON rollcall_members (member_id);
CREATE TABLE rollcall_mirror
  (id INTEGER PRIMARY KEY, position TEXT, seq BIGINT NOT NULL, staging TEXT NOT NULL);
CREATE TABLE rollcall_resyncs
  (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, seq BIGINT NOT NULL, taken INTEGER NOT NULL,
   PRIMARY KEY (tenant, incarnation));
CREATE TABLE rollcall_schema (version INTEGER PRIMARY KEY);
CREATE VIEW rollcall_memberships AS
  SELECT m.tenant, m.incarnation, m.group_id, m.member_id, 'User' AS member_type
    FROM rollcall_members m
    JOIN rollcall_groups g ON g.tenant = m.tenant AND g.incarnation = m.incarnation AND g.id = m.group_id
    JOIN rollcall_users u ON u.tenant = m.tenant AND u.incarnation = m.incarnation AND u.id = m.member_id
    WHERE u.hidden = 0
  UNION ALL
  SELECT m.tenant, m.incarnation, m.group_id, m.member_id, 'Group' AS member_type
    FROM rollcall_members m
    JOIN rollcall_groups g ON g.tenant = m.tenant AND g.incarnation = m.incarnation AND g.id = m.group_id
    JOIN rollcall_groups i ON i.tenant = m.tenant AND i.incarnation = m.incarnation AND i.id = m.member_id;
CREATE VIEW rollcall_roles AS
  SELECT u.tenant, u.incarnation, u.id AS user_id, a.team, a.role
    FROM rollcall_users u
    JOIN rollcall_members m ON m.tenant = u.tenant AND m.incarnation = u.incarnation AND m.member_id = u.id
    JOIN rollcall_groups g ON g.tenant = u.tenant AND g.incarnation = u.incarnation AND g.id = m.group_id
    JOIN rollcall_assignments a ON a.tenant = u.tenant AND a.incarnation = u.incarnation AND a.group_id = g.id
    WHERE u.active = 1 AND u.hidden = 0
  UNION
  SELECT u.tenant, u.incarnation, u.id AS user_id, g.team, g.role
    FROM rollcall_users u
    JOIN rollcall_user_roles r ON r.tenant = u.tenant AND r.incarnation = u.incarnation AND r.user_id = u.id
    JOIN rollcall_grants g ON g.tenant = u.tenant AND g.incarnation = u.incarnation AND g.role_id = r.role_id
    WHERE u.active = 1 AND u.hidden = 0;
INSERT INTO rollcall_schema (version) VALUES (2);
INSERT INTO rollcall_mirror (id, position, seq, staging) VALUES (1, '0123456789abcdef-7', 7, '');
INSERT INTO rollcall_tenants (tenant, incarnation) VALUES ('demo', 'old');
INSERT INTO rollcall_users (tenant, incarnation, id, user_name, active, hidden, version, resource)
  VALUES ('demo', 'old', 'u', 'gone@example.com', 1, 0, 1, '{}');
INSERT INTO rollcall_groups (tenant, incarnation, id, display_name, version, resource)
  VALUES ('demo', 'old', 'g', 'Gone', 1, '{}');
INSERT INTO rollcall_members (tenant, incarnation, group_id, member_id) VALUES ('demo', 'old', 'g', 'u');
