#!/usr/bin/env bash
# Takes down what ssh_up.sh brought up in FOLDER, by its pid file; the logs stay, the keys do not.
#
#   bash tests/cluster/ssh_down.sh FOLDER
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: ssh_down.sh FOLDER" >&2; exit 2; }
folder=$(cd "$1" && pwd)

pid=$(cat "$folder/sshd.pid" 2>/dev/null || true)
# A pid file may be older than the machine's last start: the process must be one of ours.
if [ -n "$pid" ] && grep -qzF "$folder/sshd_config" "/proc/$pid/cmdline" 2>/dev/null; then
  kill "$pid"
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
fi
rm -rf "${folder:?}/bin"
rm -f "$folder"/{sshd.pid,sshd_config,ssh_config,known_hosts,host,host.pub,client,client.pub}
