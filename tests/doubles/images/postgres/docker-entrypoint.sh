#!/usr/bin/env bash
# Prepares PGDATA on the first start, then becomes PostgreSQL. A short stand-in for the official image's entrypoint:
# the same variables, the same refusals, the same order of steps.
#
# Variables: POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, POSTGRES_INITDB_ARGS (each also as NAME_FILE),
# POSTGRES_INITDB_WALDIR, POSTGRES_HOST_AUTH_METHOD, PGDATA. Files: /docker-entrypoint-initdb.d/*.{sh,sql,sql.gz,sql.xz,sql.zst}.
set -Eeuo pipefail

fail() {
  printf 'Error: %s\n' "$@" >&2
  exit 1
}

# from_file NAME [DEFAULT]: NAME, or the content of the file that NAME_FILE points at; both at once is a mistake.
from_file() {
  local name="$1" default="${2:-}" file_name="${1}_FILE" value
  if [[ -n "${!name:-}" && -n "${!file_name:-}" ]]; then
    fail "both $name and $file_name are set (but are exclusive)"
  fi
  value="${!name:-$default}"
  if [[ -n "${!file_name:-}" ]]; then
    value="$(< "${!file_name}")"
  fi
  export "$name=$value"
  unset "$file_name"
}

wants_server() {
  [[ "$1" == postgres ]] || return 1
  local argument
  for argument in "$@"; do
    case "$argument" in
      -'?' | --help | --describe-config | -V | --version) return 1 ;;
    esac
  done
}

prepare_folders() {
  mkdir -p "$PGDATA" /var/run/postgresql
  # Fails for a foreign --user on a folder that it does not own; PostgreSQL itself then says what is wrong.
  chmod 0700 "$PGDATA" || :
  chmod 3775 /var/run/postgresql || :
  if [[ "$(id -u)" == 0 ]]; then
    find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
    if [[ -n "${POSTGRES_INITDB_WALDIR:-}" ]]; then
      install --directory --owner postgres --mode 0700 "$POSTGRES_INITDB_WALDIR"
    fi
  fi
}

refuse_unsafe_start() {
  if (( PG_MAJOR >= 18 )) && [[ "$PGDATA" == /var/lib/postgresql/* ]] \
    && grep --quiet --fixed-strings ' /var/lib/postgresql/data ' /proc/self/mounts; then
    fail 'in 18+, this image keeps its data below /var/lib/postgresql, and something is mounted at /var/lib/postgresql/data (unused mount/volume)' \
      'mount /var/lib/postgresql instead'
  fi
  if [[ -z "$POSTGRES_PASSWORD" && "$POSTGRES_HOST_AUTH_METHOD" != trust ]]; then
    fail 'Database is uninitialized and superuser password is not specified.' \
      'set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE to a non-empty value for the superuser'
  fi
}

create_cluster() {
  # initdb asks for the name of its user; a foreign --user has none.
  if ! getent passwd "$(id -u)" > /dev/null; then
    local library
    for library in /usr/lib/*/libnss_wrapper.so; do
      NSS_WRAPPER_PASSWD="$(mktemp)" NSS_WRAPPER_GROUP="$(mktemp)"
      printf 'postgres:x:%s:%s:PostgreSQL:%s:/bin/false\n' "$(id -u)" "$(id -g)" "$PGDATA" > "$NSS_WRAPPER_PASSWD"
      printf 'postgres:x:%s:\n' "$(id -g)" > "$NSS_WRAPPER_GROUP"
      export LD_PRELOAD="$library" NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
    done
  fi
  local extra=()
  # The variable is a shell line by its documentation, so quotes in it group words.
  eval "extra=($POSTGRES_INITDB_ARGS)"
  if [[ -n "${POSTGRES_INITDB_WALDIR:-}" ]]; then
    extra+=(--waldir "$POSTGRES_INITDB_WALDIR")
  fi
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${extra[@]}"
  if [[ -n "${LD_PRELOAD:-}" ]]; then
    rm -f "$NSS_WRAPPER_PASSWD" "$NSS_WRAPPER_GROUP"
    unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
  fi
  local method="${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}"
  printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
}

run_sql() {
  PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$POSTGRES_USER" "$@"
}

run_init_files() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sh)
        printf '%s: running %s\n' "$0" "$file"
        # shellcheck source=/dev/null  # the operator's script: executable runs alone, others share this shell
        if [[ -x "$file" ]]; then "$file"; else . "$file"; fi
        ;;
      *.sql) printf '%s: running %s\n' "$0" "$file"; run_sql --dbname "$POSTGRES_DB" --file "$file" ;;
      *.sql.gz) printf '%s: running %s\n' "$0" "$file"; gunzip --stdout "$file" | run_sql --dbname "$POSTGRES_DB" ;;
      *.sql.xz) printf '%s: running %s\n' "$0" "$file"; xz --decompress --stdout "$file" | run_sql --dbname "$POSTGRES_DB" ;;
      *.sql.zst) printf '%s: running %s\n' "$0" "$file"; zstd --decompress --stdout "$file" | run_sql --dbname "$POSTGRES_DB" ;;
      /docker-entrypoint-initdb.d/\*) ;;
      *) printf '%s: ignoring %s\n' "$0" "$file" ;;
    esac
  done
}

# Everything of the first start happens on the socket, so that nobody connects to a half-made database.
initialise() {
  refuse_unsafe_start
  create_cluster
  export PGPASSWORD="${PGPASSWORD:-$POSTGRES_PASSWORD}"
  local options
  options="$(printf '%q ' "${@:2}" -c listen_addresses='')"
  PGUSER="$POSTGRES_USER" pg_ctl --pgdata "$PGDATA" --options "$options" --wait start
  if [[ "$POSTGRES_DB" != postgres ]]; then
    run_sql --dbname postgres --set db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db";'
  fi
  run_init_files
  PGUSER="$POSTGRES_USER" pg_ctl --pgdata "$PGDATA" --mode fast --wait stop
  unset PGPASSWORD
  printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

if [[ "${1:0:1}" == - ]]; then
  set -- postgres "$@"
fi
if wants_server "$@"; then
  prepare_folders
  if [[ "$(id -u)" == 0 ]]; then
    exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
  fi
  if [[ -s "$PGDATA/PG_VERSION" ]]; then
    printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
  else
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_USER postgres
    from_file POSTGRES_DB "$POSTGRES_USER"
    from_file POSTGRES_INITDB_ARGS
    : "${POSTGRES_HOST_AUTH_METHOD:=}"
    initialise "$@"
  fi
fi
exec "$@"
