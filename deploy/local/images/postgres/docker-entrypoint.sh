#!/bin/sh
# Makes the database at the first start, from POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and PGDATA.
# Arguments after `postgres` are the server's.
set -eu

if [ "${1:-}" != postgres ]; then
  exec "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?must be set, it is the password of a new database}"
  user="${POSTGRES_USER:-postgres}"
  database="${POSTGRES_DB:-$user}"
  # A first start that was killed leaves a folder that initdb refuses; the work is done beside and moved when whole.
  draft="$PGDATA.draft"
  rm -rf "$draft"
  mkdir -p "$draft"
  # The password goes in by a file, because arguments can be read by every process of the node.
  password="$(mktemp)"
  printf '%s\n' "$POSTGRES_PASSWORD" > "$password"
  initdb --pgdata="$draft" --username="$user" --pwfile="$password" --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
  rm -f "$password"
  printf 'host all all all scram-sha-256\n' >> "$draft/pg_hba.conf"
  if [ "$database" != postgres ]; then
    printf 'CREATE DATABASE :"name" OWNER :"owner";\n' > "$draft/create.sql"
    pg_ctl --pgdata="$draft" --wait --options="-c listen_addresses='' -k /var/run/postgresql" start
    PGPASSWORD="$POSTGRES_PASSWORD" psql --host=/var/run/postgresql --username="$user" --dbname=postgres --no-psqlrc \
      --set=ON_ERROR_STOP=1 --set=name="$database" --set=owner="$user" --file="$draft/create.sql"
    pg_ctl --pgdata="$draft" --wait --mode=fast stop
    rm -f "$draft/create.sql"
  fi
  # The last act. A data folder that a volume made is empty, so its contents are what moves.
  if [ -d "$PGDATA" ] && ! rmdir "$PGDATA" 2>/dev/null; then
    mv "$draft"/* "$PGDATA"/ && rmdir "$draft"
  else
    mv "$draft" "$PGDATA"
  fi
fi

shift
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql "$@"
