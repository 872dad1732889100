# RabbitMQ in $folder: `data` has all that Erlang and the broker write, `rabbitmq.env` keeps ports
# and password. It has an epmd (Erlang's name server) that it shares with nobody but the other nodes
# of its cluster, if it has any, so the node's name meets no stranger's.

start_rabbitmq() {
  local server epmd
  server=$(installed find_rabbitmq rabbitmq-server RabbitMQ)
  epmd=$(find_epmd)
  choose_server_user
  make_data_folder "$folder/data"
  load_rabbitmq
  [ -z "$joined" ] || join_rabbitmq "$joined"

  local given=$port given_management=$management_port tries=3
  while :; do
    port=${given:-${kept_port:-$(free_port)}}
    management_port=${given_management:-${kept_management_port:-$(free_port)}}
    local taken
    for taken in $given $given_management; do
      ! listens "$taken" || die "port $taken is taken: nothing else may listen where RabbitMQ should"
    done
    if ! listens "$port" && ! listens "$management_port" && launch_rabbitmq "$server" "$epmd"; then
      break
    fi
    tries=$((tries - 1))
    if [ "$tries" = 0 ]; then
      tail -n 20 "$folder/rabbitmq.log" >&2
      die "RabbitMQ did not start (its log: $folder/rabbitmq.log)"
    fi
    # Clients know the ports, so they are kept unless someone else has them now.
    ! listens "$port" || kept_port=""
    ! listens "$management_port" || kept_management_port=""
  done
}

find_epmd() {
  command -v epmd && return
  local root
  root=$(erl -noshell -eval 'io:format("~ts", [code:root_dir()]), halt().' </dev/null)
  ls -d "$root"/erts-*/bin/epmd 2>/dev/null | tail -n 1 | grep . || die "epmd is not there: RabbitMQ needs all of Erlang"
}

launch_rabbitmq() { # SERVER EPMD
  local epmd_port distribution_port
  distribution_port=$(free_port)
  write_rabbitmq_configuration
  provide_epmd "$2" || return 1
  echo "$epmd_port $rabbitmq_node" >"$folder/rabbitmq.epmd"
  # Before there are data: a node that was once told a name has no others.
  save_rabbitmq

  # A clean environment: what the system's own broker is configured by must not count here.
  # RUNNING_UNDER_SYSTEMD makes the start script become the broker, so that the id is its own.
  start_detached "$folder/rabbitmq.log" as_server env -i "PATH=$PATH:/usr/sbin:/sbin" LANG=C.UTF-8 \
    "HOME=$data" ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 \
    RUNNING_UNDER_SYSTEMD=true \
    RABBITMQ_NODENAME="$rabbitmq_node@localhost" \
    RABBITMQ_CONF_ENV_FILE="$data/rabbitmq-env.conf" \
    RABBITMQ_CONFIG_FILE="$data/rabbitmq.conf" \
    RABBITMQ_CONFIG_FILES="$data/conf.d" \
    RABBITMQ_ADVANCED_CONFIG_FILE="$data/advanced.config" \
    RABBITMQ_ENABLED_PLUGINS_FILE="$data/enabled_plugins" \
    RABBITMQ_MNESIA_BASE="$data/mnesia" \
    RABBITMQ_LOG_BASE="$data/log" \
    RABBITMQ_LOGS=- \
    RABBITMQ_DIST_PORT="$distribution_port" \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
    "$1"
  rabbitmq_pid=$started
  echo "$rabbitmq_pid" >"$folder/rabbitmq.pid"
  if ! wait_until "$rabbitmq_pid" 120 rabbitmq_answers; then
    stop_rabbitmq orderly
    return 1
  fi
  if ! wait_until "$rabbitmq_pid" 20 rabbitmq_has_joined; then
    stop_rabbitmq crash
    die "$folder did not become a member of the cluster (its log: $folder/rabbitmq.log): remove it"
  fi
}

write_rabbitmq_configuration() {
  mkdir -p "$data/conf.d" "$data/mnesia" "$data/log"
  : >"$data/rabbitmq-env.conf"
  echo '[rabbitmq_management].' >"$data/enabled_plugins"
  cat >"$data/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$port
management.tcp.ip = 127.0.0.1
management.tcp.port = $management_port
default_user = $rabbitmq_user
default_pass = $rabbitmq_password
log.console.level = warning
disk_free_limit.absolute = 100MB
CONF
  print_rabbitmq_peers >>"$data/rabbitmq.conf"
  if [ -n "$durable" ]; then
    echo '[].' >"$data/advanced.config"
  else
    # Tests wait for what the management API counts, so it counts often.
    echo 'collect_statistics_interval = 500' >>"$data/rabbitmq.conf"
    echo '[{rabbit, [{quorum_tick_interval, 250}]}].' >"$data/advanced.config"
  fi
  chmod 600 "$data/rabbitmq.conf"
  give_to_server "$data"
}

# Whether the API knows the user and AMQP is open, which RabbitMQ does last.
rabbitmq_answers() {
  listens "$port" && listens "$management_port" || return 1
  case $(rabbitmq_api /api/whoami) in "HTTP/"*" 200 "*) ;; *) return 1 ;; esac
}

# What the management API answers, headers and all.
rabbitmq_api() { # PATH
  local authorization
  authorization=$(printf '%s:%s' "$rabbitmq_user" "$rabbitmq_password" | base64 | tr -d '\n')
  (
    exec 3<>"/dev/tcp/127.0.0.1/$management_port" || exit 1
    printf 'GET %s HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' "$1" "$authorization" >&3
    while IFS= read -r -t 5 line <&3 || [ -n "$line" ]; do printf '%s\n' "$line"; done
  ) 2>/dev/null
}

load_rabbitmq() {
  rabbitmq_user=${RABBITMQ_USER:-guest}
  rabbitmq_password=${RABBITMQ_PASSWORD:-guest}
  rabbitmq_node=waybill rabbitmq_peer=""
  kept_port="" kept_management_port="" kept_epmd_port=""
  if [ -s "$folder/rabbitmq.env" ]; then
    kept_port=$(sed -n 's/^port=//p' "$folder/rabbitmq.env")
    kept_management_port=$(sed -n 's/^management_port=//p' "$folder/rabbitmq.env")
    kept_epmd_port=$(sed -n 's/^epmd_port=//p' "$folder/rabbitmq.env")
    rabbitmq_user=$(sed -n 's/^user=//p' "$folder/rabbitmq.env")
    rabbitmq_password=$(sed -n 's/^password=//p' "$folder/rabbitmq.env")
    rabbitmq_peer=$(sed -n 's/^peer=//p' "$folder/rabbitmq.env")
    [ -z "$rabbitmq_peer" ] || rabbitmq_node=$(sed -n 's/^node=//p' "$folder/rabbitmq.env")
  fi
}

save_rabbitmq() {
  (
    umask 077
    cat >"$folder/rabbitmq.env" <<ENV
port=$port
management_port=$management_port
epmd_port=$epmd_port
user=$rabbitmq_user
password=$rabbitmq_password
node=$rabbitmq_node
peer=$rabbitmq_peer
ENV
  )
}

print_rabbitmq() {
  local user=$rabbitmq_user:$rabbitmq_password
  echo "AMQP_URL=amqp://$user@127.0.0.1:$port"
  echo "RABBITMQ_MANAGEMENT_URL=http://$user@127.0.0.1:$management_port"
  echo "RABBITMQ_PID=$rabbitmq_pid"
}

stop_rabbitmq() { # orderly|crash
  local pid
  if pid=$(cat "$folder/rabbitmq.pid" 2>/dev/null); then
    if is_process "$pid" "$(real_data)"; then
      case $1 in
        orderly) end_process "$pid" TERM 30 ;;
        crash) end_process "$pid" KILL 10 ;;
      esac
    fi
    rm -f "$folder/rabbitmq.pid"
  fi
  release_epmd
}
