#!/usr/bin/env bash
# A real sshd on 127.0.0.1 under the host names worker1 and worker2, with keys and a configuration of its own.
#
#   bash tests/cluster/ssh_up.sh FOLDER     # keys, configuration and log go into FOLDER
#   export PATH=FOLDER/bin:$PATH            # its `ssh` knows the hosts; ~/.ssh is neither read nor written
#   bash tests/cluster/ssh_down.sh FOLDER
#
# Given again it finds the daemon up and does nothing. As root it installs openssh-server and pdsh where they are
# missing. Exit status 77: this machine cannot have one, for the reason said.
set -euo pipefail

cannot() {
  echo "no sshd here: $*" >&2
  exit 77
}

[ $# -eq 1 ] || { echo "usage: ssh_up.sh FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin

reachable() {
  timeout 5 "$folder/bin/ssh" -o BatchMode=yes "$1" true 2>>"$folder/ssh.log"
}

if [ -x "$folder/bin/ssh" ] && reachable worker1; then
  echo "sshd is up: export PATH=$folder/bin:\$PATH"
  exit 0
fi

all_there() {
  local name
  for name in "$@"; do
    command -v "$name" >/dev/null || return 1 # given several names, `command -v` is content with one
  done
}

if ! all_there sshd ssh ssh-keygen pdsh; then
  [ "$(id -u)" = 0 ] || cannot "sshd or pdsh is missing, and user $(id -un) may not install them"
  command -v apt-get >/dev/null || cannot "sshd or pdsh is missing, and there is no apt-get to install them"
  export DEBIAN_FRONTEND=noninteractive
  # Debian would start a daemon of its own on port 22: exit status 101 of this file forbids it.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    forbade=1
  fi
  installed=0
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends openssh-server pdsh; } \
    >"$folder/apt.log" 2>&1 || installed=$?
  [ -z "${forbade:-}" ] || rm -f /usr/sbin/policy-rc.d
  [ "$installed" = 0 ] || cannot "apt-get cannot install openssh-server and pdsh ($folder/apt.log)"
fi

bash "$scripts/ssh_down.sh" "$folder" # what a broken start may have left
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd # without systemd nobody else makes it
mkdir -p "$folder/bin"
chmod 700 "$folder"
for key in host client; do
  ssh-keygen -q -t ed25519 -N '' -f "$folder/$key"
done

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/sshd_config" <<CONFIGURATION
ListenAddress 127.0.0.1:$port
HostKey $folder/host
PidFile $folder/sshd.pid
AuthorizedKeysFile $folder/client.pub
AuthenticationMethods publickey
PermitRootLogin prohibit-password
# The folder may lie below /tmp, which everybody can write to.
StrictModes no
UsePAM no
CONFIGURATION
cat >"$folder/ssh_config" <<CONFIGURATION
Host worker1 worker2
  HostName 127.0.0.1
  Port $port
  IdentityFile $folder/client
  IdentitiesOnly yes
  UserKnownHostsFile $folder/known_hosts
  StrictHostKeyChecking accept-new
  LogLevel ERROR
CONFIGURATION
# ssh finds the home folder by the password file, not by HOME: a configuration of one's own needs -F.
printf '#!/bin/sh\nexec %s -F %s "$@"\n' "$(command -v ssh)" "$folder/ssh_config" >"$folder/bin/ssh"
chmod +x "$folder/bin/ssh"

"$(command -v sshd)" -f "$folder/sshd_config" -E "$folder/sshd.log" || cannot "sshd does not start ($folder/sshd.log)"
for _ in $(seq 20); do
  if reachable worker1 && reachable worker2; then
    echo "sshd is up: export PATH=$folder/bin:\$PATH"
    exit 0
  fi
  sleep 0.25
done
echo "sshd lets nobody in; the last lines of its log and of ssh's:" >&2
tail -n 5 "$folder/sshd.log" "$folder/ssh.log" >&2
exit 1
