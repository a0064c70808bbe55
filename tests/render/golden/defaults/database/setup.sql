-- Roles, databases and rights of this deployment: one role and one database per service, and `ledger`, which only reads feed states.
-- Run with psql as superuser, as often as you like.
-- `make database` runs it and sets the passwords of secrets/ as SCRAM verifiers, so that none is ever part of a statement.
\set ON_ERROR_STOP on
SELECT 'CREATE ROLE indexer LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'indexer') \gexec
SELECT 'CREATE ROLE matcher LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'matcher') \gexec
SELECT 'CREATE ROLE notifier LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'notifier') \gexec
SELECT 'CREATE ROLE ledger LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledger') \gexec
SELECT 'CREATE DATABASE indexer OWNER indexer' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'indexer') \gexec
REVOKE CONNECT, TEMPORARY ON DATABASE indexer FROM PUBLIC;
SELECT 'CREATE DATABASE matcher OWNER matcher' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'matcher') \gexec
REVOKE CONNECT, TEMPORARY ON DATABASE matcher FROM PUBLIC;
SELECT 'CREATE DATABASE notifier OWNER notifier' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'notifier') \gexec
REVOKE CONNECT, TEMPORARY ON DATABASE notifier FROM PUBLIC;
REVOKE CONNECT, TEMPORARY ON DATABASE postgres FROM PUBLIC;
GRANT CONNECT ON DATABASE matcher TO ledger;
ALTER ROLE ledger SET default_transaction_read_only = on;
\connect matcher
-- The matcher's schema needs it, and its own role may not create it everywhere.
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
GRANT USAGE ON SCHEMA public TO ledger;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO ledger;
ALTER DEFAULT PRIVILEGES FOR ROLE matcher IN SCHEMA public GRANT SELECT ON TABLES TO ledger;
-- The matcher looks only at what this view names, and updates that met or ended early can be left out of it (claircore v1.5.48, updatevulnerabilities.go).
SELECT 'REFRESH MATERIALIZED VIEW latest_update_operations' WHERE to_regclass('latest_update_operations') IS NOT NULL \gexec
