#!/bin/sh
# Installs Debian's own PostgreSQL of major $1, without the cluster that its package would make.
set -eu

mkdir --parents /etc/postgresql-common
echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
apt-get install --yes --quiet=2 --no-install-recommends "postgresql-$1" > /dev/null
