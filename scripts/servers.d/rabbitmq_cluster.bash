# RabbitMQ nodes that are one cluster. Each lives in a folder of its own, with ports of its own; they
# have in common the Erlang cookie and an epmd (Erlang's name server), which belongs to none of them:
# whoever starts first starts it, and whoever stops last ends it.

# What a new node takes over from the node in FOLDER, which has to run: the database of users is
# its, too.
join_rabbitmq() { # FOLDER
  local other=$1 cookie=data/.erlang.cookie
  if [ -s "$folder/rabbitmq.env" ]; then
    [ -n "$rabbitmq_peer" ] || die "$folder is a node by itself already, and can't join another"
    return 0
  fi
  read -r kept_epmd_port rabbitmq_peer 2>/dev/null <"$other/rabbitmq.epmd" ||
    die "no RabbitMQ runs in $other that could be joined"
  rabbitmq_node=waybill-$(random_password | cut -c 1-8)
  rabbitmq_user=$(sed -n 's/^user=//p' "$other/rabbitmq.env")
  rabbitmq_password=$(sed -n 's/^password=//p' "$other/rabbitmq.env")
  cp -p "$other/$cookie" "$folder/$cookie"
  give_to_server "$data"
}

# The lines of a node's configuration by which it finds the one that it joins. They count when it
# is started for the first time, and not any more once it is a member.
print_rabbitmq_peers() {
  [ -n "$rabbitmq_peer" ] || return 0
  cat <<CONF
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = $rabbitmq_peer@localhost
cluster_formation.classic_config.nodes.2 = $rabbitmq_node@localhost
CONF
}

# Whether the node is a member: one that did not find its peer would have started by itself.
rabbitmq_has_joined() {
  [ -z "$rabbitmq_peer" ] || rabbitmq_api '/api/nodes?columns=name' | grep -q "\"$rabbitmq_peer@localhost\""
}

# Puts the port of the node's epmd into $epmd_port: that of other members, if any runs, else a new
# one's.
provide_epmd() { # EPMD
  epmd_port=${kept_epmd_port:-$(free_port)}
  if listens "$epmd_port"; then
    ! epmd_names "$1" | grep -q "$(other_members)" || return 0
    # A stranger's. Members look for each other at the same port, so they can't take another one.
    [ -z "$rabbitmq_peer" ] || die "port $epmd_port is taken: the nodes of this cluster find each other there"
    epmd_port=$(free_port)
  fi
  start_detached "$folder/rabbitmq.log" as_server env -i "PATH=$PATH" "HOME=$data" \
    "$1" -port "$epmd_port" -address 127.0.0.1
  wait_until "$started" 20 listens "$epmd_port"
}

# A node that others have joined is called `waybill`, as is every stranger that stands alone.
other_members() {
  [ -n "$rabbitmq_peer" ] && echo '^waybill' || echo '^waybill-'
}

# The nodes that run, as `epmd -names` has them.
epmd_names() { # EPMD
  "$1" -port "$epmd_port" -names 2>/dev/null | sed -n 's/^name \(.*\) at port .*/\1/p'
}

# Ends the epmd if it names no node any more.
release_epmd() {
  local epmd epmd_port node tenths=50
  read -r epmd_port node 2>/dev/null <"$folder/rabbitmq.epmd" || return 0
  epmd=$(find_epmd)
  # It may not have noticed yet that our node is gone.
  while [ "$tenths" -gt 0 ] && epmd_names "$epmd" | grep -qx "$node"; do
    tenths=$((tenths - 1))
    sleep 0.1
  done
  # It refuses as long as it names a node, that is, another member.
  if "$epmd" -port "$epmd_port" -kill 2>&1 | grep -q '^Killed'; then
    while [ "$tenths" -gt 0 ] && listens "$epmd_port"; do
      tenths=$((tenths - 1))
      sleep 0.1
    done
  fi
  rm -f "$folder/rabbitmq.epmd"
}
