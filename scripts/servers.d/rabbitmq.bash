# RabbitMQ in $folder: `data` has all that Erlang and the broker write, `rabbitmq.env` keeps ports
# and password. It has an epmd (Erlang's name server) of its own, so the node's name meets no other.

start_rabbitmq() {
  local server epmd
  server=$(installed find_rabbitmq rabbitmq-server RabbitMQ)
  epmd=$(find_epmd)
  choose_server_user
  make_data_folder "$folder/data"
  load_rabbitmq

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
  save_rabbitmq
}

find_epmd() {
  command -v epmd && return
  local root
  root=$(erl -noshell -eval 'io:format("~ts", [code:root_dir()]), halt().' </dev/null)
  ls -d "$root"/erts-*/bin/epmd 2>/dev/null | tail -n 1 | grep . || die "epmd is not there: RabbitMQ needs all of Erlang"
}

launch_rabbitmq() { # SERVER EPMD
  local epmd_port distribution_port
  epmd_port=$(free_port)
  distribution_port=$(free_port)
  write_rabbitmq_configuration

  start_detached "$folder/rabbitmq.log" as_server env -i "PATH=$PATH" "HOME=$data" \
    "$2" -port "$epmd_port" -address 127.0.0.1
  local epmd_pid=$started
  echo "$epmd_pid $epmd_port" >"$folder/epmd.pid"
  wait_until "$epmd_pid" 20 listens "$epmd_port" || return 1

  # A clean environment: what the system's own broker is configured by must not count here.
  # RUNNING_UNDER_SYSTEMD makes the start script become the broker, so that the id is its own.
  start_detached "$folder/rabbitmq.log" as_server env -i "PATH=$PATH:/usr/sbin:/sbin" LANG=C.UTF-8 \
    "HOME=$data" ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 \
    RUNNING_UNDER_SYSTEMD=true \
    RABBITMQ_NODENAME=waybill@localhost \
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
  local authorization status
  authorization=$(printf '%s:%s' "$rabbitmq_user" "$rabbitmq_password" | base64 | tr -d '\n')
  status=$(
    exec 3<>"/dev/tcp/127.0.0.1/$management_port" || exit 1
    printf 'GET /api/whoami HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' "$authorization" >&3
    IFS= read -r -t 5 line <&3 && echo "$line"
  ) 2>/dev/null || return 1
  case $status in *" 200 "*) ;; *) return 1 ;; esac
}

load_rabbitmq() {
  rabbitmq_user=${RABBITMQ_USER:-guest}
  rabbitmq_password=${RABBITMQ_PASSWORD:-guest}
  kept_port="" kept_management_port=""
  if [ -s "$folder/rabbitmq.env" ]; then
    kept_port=$(sed -n 's/^port=//p' "$folder/rabbitmq.env")
    kept_management_port=$(sed -n 's/^management_port=//p' "$folder/rabbitmq.env")
    rabbitmq_user=$(sed -n 's/^user=//p' "$folder/rabbitmq.env")
    rabbitmq_password=$(sed -n 's/^password=//p' "$folder/rabbitmq.env")
  fi
}

save_rabbitmq() {
  (
    umask 077
    printf 'port=%s\nmanagement_port=%s\nuser=%s\npassword=%s\n' "$port" "$management_port" \
      "$rabbitmq_user" "$rabbitmq_password" >"$folder/rabbitmq.env"
  )
}

print_rabbitmq() {
  local user=$rabbitmq_user:$rabbitmq_password
  echo "AMQP_URL=amqp://$user@127.0.0.1:$port"
  echo "RABBITMQ_MANAGEMENT_URL=http://$user@127.0.0.1:$management_port"
  echo "RABBITMQ_PID=$rabbitmq_pid"
}

stop_rabbitmq() { # orderly|crash
  local pid epmd_port
  if pid=$(cat "$folder/rabbitmq.pid" 2>/dev/null); then
    if is_process "$pid" "$(real_data)"; then
      case $1 in
        orderly) end_process "$pid" TERM 30 ;;
        crash) end_process "$pid" KILL 10 ;;
      esac
    fi
    rm -f "$folder/rabbitmq.pid"
  fi
  if read -r pid epmd_port 2>/dev/null <"$folder/epmd.pid"; then
    ! is_process "$pid" "-port $epmd_port" || end_process "$pid" TERM 5
    rm -f "$folder/epmd.pid"
  fi
}
