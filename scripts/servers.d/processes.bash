# Starting processes apart from the terminal, and ending them by their id.

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# Whether process PID runs. One that has ended and was not yet collected by its parent does not.
alive() { # PID
  kill -0 "$1" 2>/dev/null || return 1
  local state
  if [ -r "/proc/$1/stat" ]; then
    state=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 1
  else
    state=$(ps -o stat= -p "$1" 2>/dev/null) || return 1
  fi
  case $state in "" | Z*) return 1 ;; esac
}

# Whether process PID runs and is what it was when its id was written down: ids are used again.
is_process() { # PID WORD-OF-ITS-COMMAND-LINE
  alive "$1" || return 1
  local line
  if [ -r "/proc/$1/cmdline" ]; then
    line=$(tr '\0' ' ' <"/proc/$1/cmdline")
  else
    line=$(ps -o args= -p "$1")
  fi
  case $line in *"$2"*) ;; *) return 1 ;; esac
}

# Starts COMMAND in a process group of its own, so that a Ctrl-C meant for the caller does not
# reach it, and with none of the caller's files. Its id is in $started.
start_detached() { # LOG COMMAND...
  local log=$1
  shift
  set -m
  "$@" >>"$log" 2>&1 </dev/null &
  started=$!
  disown "$started"
  set +m
}

# Signals process PID and waits until it is gone; after SECONDS it is killed.
end_process() { # PID SIGNAL SECONDS
  kill "-$2" "$1" 2>/dev/null || return 0
  local tenths=0
  while alive "$1"; do
    [ "$tenths" -lt $(($3 * 10)) ] || kill -KILL "$1" 2>/dev/null || true
    tenths=$((tenths + 1))
    sleep 0.1
  done
}

# Calls CHECK until it succeeds; fails when process PID ends first, or after SECONDS. Where the
# script was told to end meanwhile ($interrupted), it does.
wait_until() { # PID SECONDS CHECK...
  local pid=$1 tenths=$(($2 * 10))
  shift 2
  while ! "$@"; do
    [ -z "$interrupted" ] || abandon
    alive "$pid" && [ "$tenths" -gt 0 ] || return 1
    tenths=$((tenths - 1))
    sleep 0.1
  done
}

listens() { # PORT
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A port nobody listens on, below the range the system gives to outgoing connections. Another
# process may still take it before it is used, so a start that fails is tried with other ports.
free_port() {
  local candidate
  while :; do
    candidate=$((20000 + (RANDOM << 15 | RANDOM) % 12000))
    listens "$candidate" || break
  done
  echo "$candidate"
}

random_password() {
  od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

# Ends the folder's server when process OWNER is gone, also when it was killed and could not.
start_watchdog() { # OWNER
  start_detached "$folder/watchdog.log" bash "$scripts/servers.d/watchdog" "$1" "$folder"
  echo "$started" >"$folder/watchdog.pid"
}

end_watchdog() {
  local pid
  pid=$(cat "$folder/watchdog.pid" 2>/dev/null) || return 0
  # The watchdog itself becomes us when its owner is gone.
  if [ "$pid" != $$ ] && is_process "$pid" "$folder"; then
    end_process "$pid" TERM 5
  fi
  rm -f "$folder/watchdog.pid"
}

# The user that servers run as: the caller, but as root a user without rights, since PostgreSQL
# refuses to run as root. Commands are started by `as_server COMMAND…`, which keeps their id.
server_user=""
choose_server_user() {
  [ "$(id -u)" = 0 ] || return 0
  command -v setpriv >/dev/null || die "to run servers as root, install setpriv (util-linux)"
  for server_user in postgres nobody; do
    ! id "$server_user" >/dev/null 2>&1 || return 0
  done
  die "there is no user postgres or nobody for servers to run as"
}

as_server() {
  if [ -n "$server_user" ]; then
    exec setpriv --reuid="$server_user" --regid="$(id -g "$server_user")" --init-groups "$@"
  else
    exec "$@"
  fi
}

# Makes the folder DATA for a server, gives it to the server's user, and puts its real path into
# $data. Where that user can't get to (a project below /root), DATA is a link into /var/tmp.
make_data_folder() { # DATA
  if [ ! -e "$1" ]; then
    rm -f "$1"
    if [ -z "$server_user" ] || (cd / && as_server test -x "${1%/*}"); then
      mkdir "$1"
    else
      ln -s "$(mktemp -d /var/tmp/waybill.XXXXXX)" "$1"
    fi
  fi
  data=$(real_data)
  give_to_server "$data"
  chmod 700 "$data"
}

# The real path of the data folder, as the server's own command line has it.
real_data() {
  (cd "$folder/data" 2>/dev/null && pwd -P) || echo "$folder/data"
}

give_to_server() { # PATH
  [ -z "$server_user" ] || chown -R "$server_user" "$1"
}

remove_folder() { # FOLDER
  [ ! -L "$1/data" ] || rm -rf "$(readlink "$1/data")"
  rm -rf "$1"
}
