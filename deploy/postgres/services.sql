-- A role and a schema for each service, and nothing that a service could see of another.
--
-- psql runs this as the superuser, in the services' database: in the compose file at the server's
-- first start, in `make run` at every start. It can run again and again, and sets the passwords
-- anew each time. They come from the environment.
\set ON_ERROR_STOP on
\getenv catalog_password CATALOG_DB_PASSWORD
\getenv ordering_password ORDERING_DB_PASSWORD
\getenv identity_password IDENTITY_DB_PASSWORD

select format('create role %I login', name)
from (values ('catalog'), ('ordering'), ('identity')) as service (name)
where not exists (select from pg_roles where rolname = name)
\gexec

alter role catalog password :'catalog_password';
alter role ordering password :'ordering_password';
alter role identity password :'identity_password';

-- A role finds its schema by its own name: PostgreSQL's search path starts with "$user".
create schema if not exists catalog authorization catalog;
create schema if not exists ordering authorization ordering;
create schema if not exists identity authorization identity;

-- By default everyone may connect to every database and look into the schema `public`.
revoke all on schema public from public;
select format('revoke all on database %I from public', datname)
from pg_database
where datname in (current_database(), 'postgres', 'template1')
\gexec
grant connect, temporary on database :"DBNAME" to catalog, ordering, identity;
