#!/usr/bin/env bash
# Takes down what slurm_up.sh brought up in FOLDER, by its pid files; the logs stay.
#
#   bash tests/cluster/slurm_down.sh FOLDER
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: slurm_down.sh FOLDER" >&2; exit 2; }
folder=$(cd "$1" && pwd)
export SLURM_CONF=$folder/slurm.conf

stop() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  # A pid file may be older than the machine's last start: the process must be one of ours.
  [[ "$(cat "/proc/$pid/comm" 2>/dev/null)" == @(slurmd|slurmctld|munged) ]] || return 0
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
}

if [ -s "$folder/run/slurmctld.pid" ] && jobs=$(timeout 5 squeue --noheader --format=%i 2>/dev/null) && [ -n "$jobs" ]; then
  # shellcheck disable=SC2086 # one word a job
  timeout 5 scancel --signal=KILL --full $jobs 2>/dev/null || true
  # shellcheck disable=SC2086
  timeout 5 scancel $jobs 2>/dev/null || true
  for _ in $(seq 20); do
    [ -n "$(timeout 5 squeue --noheader 2>/dev/null)" ] || break # jobs that outlive slurmd would train on
    sleep 0.5
  done
fi
for file in "$folder"/run/slurmd.*.pid "$folder/run/slurmctld.pid" "$folder/munge/pid"; do
  stop "$file"
done
rm -rf "$folder/state" "$folder/spool" "$folder/run" "$folder/munge"
line="127.0.0.1 node1 node2 # weather-slurm $folder"
if grep -qxF "$line" /etc/hosts; then
  # Rewritten in place: in a container /etc/hosts is a mount, which cannot be replaced by a new file.
  others=$(grep -vxF "$line" /etc/hosts || true)
  echo "$others" >/etc/hosts
fi
