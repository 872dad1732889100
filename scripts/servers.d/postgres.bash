# PostgreSQL in $folder: `data/cluster` is its data, `postgres.env` keeps port and password.

start_postgres() {
  local bin
  bin=$(installed find_postgres postgresql PostgreSQL)
  choose_server_user
  make_data_folder "$folder/data"
  load_postgres
  check_postgres_version "$bin"
  make_postgres_data "$bin"

  local given=$port tries=3
  while :; do
    port=${given:-${kept_port:-$(free_port)}}
    ! listens "$port" || [ -z "$given" ] || die "port $port is taken: nothing else may listen where PostgreSQL should"
    if ! listens "$port" && launch_postgres "$bin"; then
      break
    fi
    tries=$((tries - 1))
    if [ "$tries" = 0 ]; then
      tail -n 20 "$folder/postgres.log" >&2
      die "PostgreSQL did not start (its log: $folder/postgres.log)"
    fi
    # Clients know the port, so it is kept unless someone else has it now.
    ! listens "$port" || kept_port=""
  done
  save_postgres
}

launch_postgres() { # BIN
  local settings=(
    listen_addresses=127.0.0.1
    "port=$port"
    unix_socket_directories=
    max_connections=300
    timezone=UTC
    log_timezone=UTC
    # A client that vanished must not keep its locks.
    tcp_keepalives_idle=60
  )
  # Tests survive a crash of the server, for the system keeps what was written; not a power cut.
  [ -n "$durable" ] || settings+=(fsync=off full_page_writes=off)
  [ -z "$track_commits" ] || settings+=(track_commit_timestamp=on)
  local arguments=() setting
  for setting in "${settings[@]}"; do arguments+=(-c "$setting"); done

  start_detached "$folder/postgres.log" as_server "$1/postgres" -D "$data/cluster" "${arguments[@]}"
  postgres_pid=$started
  echo "$postgres_pid" >"$folder/postgres.pid"
  wait_until "$postgres_pid" 60 postgres_answers "$1" || {
    end_process "$postgres_pid" INT 10
    return 1
  }
}

postgres_answers() { # BIN
  PGPASSWORD=$postgres_password PGCONNECT_TIMEOUT=5 "$1/psql" -X -h 127.0.0.1 -p "$port" \
    -U postgres -d postgres -c 'select 1' >/dev/null 2>&1
}

# The cluster is made aside and moved into place, so a start that was killed leaves no half of one.
make_postgres_data() { # BIN
  [ ! -d "$data/cluster" ] || return 0
  local fresh=$data/fresh password_file=$data/password locale=C
  rm -rf "$fresh"
  ! locale -a 2>/dev/null | grep -qix 'C\.utf-\?8' || locale=C.UTF-8
  # `password`: what a client sends stays on loopback, and costs tests no time to scramble.
  local auth=scram-sha-256
  [ -n "$durable" ] || auth=password
  (umask 077 && printf '%s\n' "$postgres_password" >"$password_file")
  give_to_server "$password_file"
  (
    as_server "$1/initdb" --pgdata="$fresh" --username=postgres --auth="$auth" \
      --pwfile="$password_file" --encoding=UTF8 --locale="$locale" --no-sync
  ) >"$folder/postgres.log" 2>&1 || {
    tail -n 5 "$folder/postgres.log" >&2
    die "initdb failed (its log: $folder/postgres.log)"
  }
  rm -f "$password_file"
  save_postgres
  mv "$fresh" "$data/cluster"
}

check_postgres_version() { # BIN
  local made_by program
  made_by=$(cat "$data/cluster/PG_VERSION" 2>/dev/null) || return 0
  program=$("$1/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
  [ "$made_by" = "$program" ] ||
    die "$folder was made by PostgreSQL $made_by and $program is installed: upgrade it, or remove the folder and its data"
}

load_postgres() {
  postgres_password=${POSTGRES_PASSWORD:-}
  kept_port=""
  if [ -s "$folder/postgres.env" ]; then
    kept_port=$(sed -n 's/^port=//p' "$folder/postgres.env")
    postgres_password=$(sed -n 's/^password=//p' "$folder/postgres.env")
  fi
  [ -n "$postgres_password" ] || postgres_password=$(random_password)
}

save_postgres() {
  (
    umask 077
    printf 'port=%s\npassword=%s\n' "$port" "$postgres_password" >"$folder/postgres.env"
  )
}

print_postgres() {
  echo "POSTGRES_URL=postgres://postgres:$postgres_password@127.0.0.1:$port/postgres"
  echo "POSTGRES_PORT=$port"
  echo "POSTGRES_PID=$postgres_pid"
}

stop_postgres() { # orderly|crash
  local pid
  pid=$(cat "$folder/postgres.pid" 2>/dev/null) || return 0
  if is_process "$pid" "$(real_data)/cluster"; then
    case $1 in
      orderly) end_process "$pid" INT 30 ;;
      crash) end_process "$pid" KILL 10 ;;
    esac
  fi
  # What it left is stale, and its id may since belong to someone else.
  rm -f "$folder/postgres.pid" "$folder/data/cluster/postmaster.pid"
}
