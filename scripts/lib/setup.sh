# shellcheck shell=bash
# Brings a Debian or Ubuntu machine to the point where the project's scripts run. Sourced by the scripts beside it:
#   setup lab     what the demo needs: Open vSwitch and network tools, and the node modules
#   setup tests   the same and what the tests need: containerd, runc, PostgreSQL, a C compiler for the pause image
# Installs only what is missing, says so, asks nothing.

fail() {
  echo "$*" >&2
  exit 1
}

packages_for() {
  echo openvswitch-switch iproute2 iputils-ping ethtool kmod util-linux
  if [ "$1" = tests ]; then echo containerd runc containernetworking-plugins gcc libc6-dev postgresql; fi
}

install_packages() {
  local missing="" package
  for package in $(packages_for "$1"); do
    # Docker's own packages bring containerd and runc as one.
    case $package in
      containerd | runc) command -v "$package" >/dev/null && continue ;;
      # PostgreSQL's own packages have the version in their names.
      postgresql) compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null && continue ;;
    esac
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
  done
  [ -z "$missing" ] && return
  echo "Installing$missing ..."
  # The lab starts its own Open vSwitch, containerd and PostgreSQL: the packages' services stay as they are, which for a new one is stopped.
  local policy=/usr/sbin/policy-rc.d ours=""
  if [ ! -e "$policy" ]; then
    ours=1
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  local status=0
  # shellcheck disable=SC2086 # the list is words
  { apt_get update && apt_get install -y --no-install-recommends $missing; } || status=$?
  if [ -n "$ours" ]; then rm -f "$policy"; fi
  [ "$status" = 0 ] || fail "apt-get could not install$missing; its output is above."
}

apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@" >"$ROOT/.setup.log" 2>&1 </dev/null || {
    cat "$ROOT/.setup.log" >&2
    return 1
  }
}

# Node modules are right when every package of the lockfile is there in the lockfile's version.
modules_are_current() {
  [ -x "$ROOT/node_modules/.bin/node" ] && "$ROOT/node_modules/.bin/node" -e '
    const { readFileSync } = require("node:fs");
    const read = path => JSON.parse(readFileSync(path, "utf8")).packages;
    const there = read(process.argv[1] + "/node_modules/.package-lock.json");
    for (const [path, { version, optional }] of Object.entries(read(process.argv[1] + "/package-lock.json"))) {
      if (path !== "" && !optional && there[path]?.version !== version) process.exit(1);
    }' "$ROOT" 2>/dev/null
}

install_modules() {
  modules_are_current && return
  command -v npm >/dev/null || fail "npm is missing: install Node.js 20 or newer with npm (https://nodejs.org), then run this again."
  echo "Installing node modules ..."
  (cd "$ROOT" && npm ci --no-progress --loglevel=error </dev/null) || fail "npm ci failed; its output is above."
  # npm 10 loses the link of a command that two optional packages bring, one for each kind of processor.
  local arch
  case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
  ln -sfn "../node-linux-$arch/bin/node" "$ROOT/node_modules/.bin/node"
  modules_are_current || fail "npm ci ended well, but node_modules has no Node 24 for this machine ($(uname -m)): x86_64 and aarch64 are supported."
}

setup() {
  [ "$(uname -s)" = Linux ] || fail "This needs Linux: it makes network namespaces and runs Open vSwitch."
  [ "$(id -u)" = 0 ] || fail "This needs root: it makes network namespaces and runs Open vSwitch. Try: sudo $0"
  if command -v apt-get >/dev/null; then
    install_packages "$1"
  else
    local tool
    for tool in ovs-vswitchd ovs-vsctl ovsdb-tool ip ping ethtool nsenter; do
      command -v "$tool" >/dev/null || fail "$tool is missing, and only Debian and Ubuntu are set up automatically: install openvswitch-switch, iproute2, iputils-ping, ethtool and util-linux by hand."
    done
  fi
  install_modules
  PATH="$ROOT/node_modules/.bin:$PATH"
  export PATH
}
