-- Run once by the PostgreSQL image of docker-compose.yml, when its data directory is empty. Counterfoil's role owns its
-- database and may create the two roles that its migrations need, but is no superuser. The superuser keeps no password:
-- it can log in only inside the container.
\set password `cat /run/secrets/database_password`
CREATE ROLE counterfoil LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE counterfoil OWNER counterfoil;
ALTER ROLE postgres PASSWORD NULL;
