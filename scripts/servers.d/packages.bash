# Where the operating system keeps the servers' programs, and getting them there.

# The folder of PostgreSQL's programs, the newest version first; nothing if there is none.
find_postgres() {
  local candidate
  for candidate in $(ls -d /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin \
    /usr/local/opt/postgresql@*/bin /usr/pgsql-*/bin 2>/dev/null | sort -rV) /usr/bin /usr/local/bin; do
    if [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ]; then
      echo "$candidate"
      return
    fi
  done
}

# RabbitMQ's own start script. Debian's and Fedora's /usr/sbin/rabbitmq-server is a wrapper that
# starts the system's broker and no other.
find_rabbitmq() {
  local candidate
  for candidate in /usr/lib/rabbitmq/bin/rabbitmq-server \
    $(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server 2>/dev/null | sort -rV) \
    /opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server /usr/local/opt/rabbitmq/sbin/rabbitmq-server; do
    if [ -x "$candidate" ]; then
      echo "$candidate"
      return
    fi
  done
}

# The programs found by FIND, after installing PACKAGE where that is needed and allowed.
installed() { # FIND PACKAGE NAME
  local found
  found=$("$1")
  if [ -z "$found" ]; then
    apt_install "$2" || die "$3 is not installed: install the package $2 (Debian, Ubuntu: apt-get install $2; Fedora: dnf install $(fedora_name "$2"); macOS: brew install $(brew_name "$2"))"
    found=$("$1")
    [ -n "$found" ] || die "$3 was installed and can't be found: install it where scripts/servers.d/packages.bash looks"
  fi
  echo "$found"
}

# Both servers' packages, one after the other: two at a time would be in each other's way.
install_servers() {
  installed find_postgres postgresql PostgreSQL >/dev/null
  installed find_rabbitmq rabbitmq-server RabbitMQ >/dev/null
}

# What the tests of interoperability run: npm gets the schema of AsyncAPI, and Python a client of
# its own.
install_test_tools() {
  installed find_npm npm npm >/dev/null
  installed find_python_venv python3-venv "Python 3 with venv" >/dev/null
}

find_npm() { command -v npm || true; }
find_python_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null && command -v python3 || true; }

fedora_name() {
  case $1 in
    postgresql) echo postgresql-server ;;
    python3-venv) echo python3 ;;
    *) echo "$1" ;;
  esac
}
brew_name() {
  case $1 in
    postgresql) echo postgresql@17 ;;
    rabbitmq-server) echo rabbitmq ;;
    python3-venv) echo python ;;
    npm) echo node ;;
  esac
}

# Installs PACKAGE with apt-get as root, or with sudo where it asks for no password. The package's
# own service is neither started now (policy-rc.d) nor at the next boot: its ports stay free.
apt_install() { # PACKAGE
  command -v apt-get >/dev/null || return 1
  local as_root="" log policy=/usr/sbin/policy-rc.d
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || return 1
    as_root="sudo -n"
  fi
  log=$(mktemp "${TMPDIR:-/tmp}/apt-get.XXXXXX")
  echo "${0##*/}: installing $1 with apt-get" >&2
  # shellcheck disable=SC2016 # the inner shell expands these
  $as_root env DEBIAN_FRONTEND=noninteractive bash -c '
    set -e
    policy=$1 package=$2
    if [ ! -e "$policy" ]; then
      trap "rm -f \"$policy\"" EXIT
      printf "#!/bin/sh\nexit 101\n" >"$policy"
      chmod 755 "$policy"
    fi
    apt-get -o DPkg::Lock::Timeout=300 update
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$package"
    if [ -d /run/systemd/system ]; then
      systemctl disable "$package" || true
    fi
  ' apt-install "$policy" "$1" >"$log" 2>&1 </dev/null || {
    tail -n 5 "$log" >&2
    echo "${0##*/}: apt-get could not install $1 (all it said: $log)" >&2
    return 1
  }
  rm -f "$log"
}
