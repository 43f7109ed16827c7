#!/usr/bin/env bash
# A real SLURM of two nodes on this one machine: munge, slurmctld and two slurmd, without systemd. Debian or Ubuntu, root.
#
#   bash tests/cluster/slurm_up.sh FOLDER      # state, logs and slurm.conf go into FOLDER
#   export SLURM_CONF=FOLDER/slurm.conf        # what sinfo, sbatch and squeue need to find it
#   bash tests/cluster/slurm_down.sh FOLDER
#
# Given again it finds the cluster up and does nothing. Exit status 77: this machine cannot have one, for the reason said.
set -euo pipefail

cannot() {
  echo "no SLURM here: $*" >&2
  exit 77
}

[ $# -eq 1 ] || { echo "usage: slurm_up.sh FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
host=$(hostname -s)
export SLURM_CONF=$folder/slurm.conf PATH=$PATH:/usr/sbin:/sbin

all_there() {
  local name
  for name in "$@"; do
    command -v "$name" >/dev/null || return 1 # given several names, `command -v` is content with one
  done
}

idle_nodes() {
  timeout 5 sinfo --noheader --Node --states=idle --format=%N 2>/dev/null | sort -u | wc -l
}

if [ -s "$SLURM_CONF" ] && [ "$(timeout 5 sinfo --noheader --Node --format=%N 2>/dev/null | sort -u | wc -l)" = 2 ]; then
  echo "SLURM is up: export SLURM_CONF=$SLURM_CONF"
  exit 0
fi

[ "$(id -u)" = 0 ] || cannot "munged and slurmd are started as root, and this is user $(id -un)"
if ! all_there slurmctld slurmd munged sinfo; then
  command -v apt-get >/dev/null || cannot "slurmctld and munged are missing, and there is no apt-get to install them"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge; } >"$folder/apt.log" 2>&1 \
    || cannot "apt-get cannot install slurm-wlm and munge ($folder/apt.log)"
fi

bash "$scripts/slurm_down.sh" "$folder" # what a broken start may have left
mkdir -p "$folder"/{state,spool,log,run,dev}
for gpu in 0 1 2 3 4 5 6 7; do
  touch "$folder/dev/gpu$gpu" # names of devices that do not exist: directives that ask for GPUs are accepted
done
# The nodes' names must resolve, as they do on a cluster: rank 0 is found by the name of the first node. Each cluster has
# a line of its own, so that the end of one takes nothing from another.
echo "127.0.0.1 node1 node2 # weather-slurm $folder" >>/etc/hosts

# munged refuses a key or socket in a folder of another user, hence a folder of its own that munge owns.
install -d -o munge -g munge -m 755 "$folder/munge"
(umask 077 && head -c 256 /dev/urandom >"$folder/munge/key")
chown munge: "$folder/munge/key"
runuser -u munge -- munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
  --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" \
  2>"$folder/log/munged.log" || cannot "munged does not start ($folder/log/munged.log; is every folder above readable?)"

# Three free ports, by binding them all at once.
read -r controller_port port1 port2 < <(python3 - <<'PYTHON'
import socket

sockets = [socket.socket() for _ in range(3)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PYTHON
)

node="NodeHostname=$host NodeAddr=127.0.0.1 CPUs=64 RealMemory=1000 Gres=gpu:8 Feature=nvme State=UNKNOWN"
cat >"$SLURM_CONF" <<CONFIGURATION
ClusterName=weather
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller_port
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge/socket
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdPidFile=$folder/run/slurmd.%n.pid
SlurmdLogFile=$folder/log/slurmd.%n.log
SlurmdSpoolDir=$folder/spool/%n
# The machine has fewer cores than its nodes claim: they take the jobs of large ones.
SlurmdParameters=config_overrides
# No cgroups: containers seldom have them.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobRequeue=1
# Seconds between SIGTERM and SIGKILL: short, because tests wait for them.
KillWait=5
# A cluster waits up to a minute here, to schedule many jobs at once.
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=2
NodeName=node1 Port=$port1 $node
NodeName=node2 Port=$port2 $node
PartitionName=batch Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
CONFIGURATION
echo "NodeName=node[1-2] Name=gpu File=$folder/dev/gpu[0-7]" >"$folder/gres.conf"

slurmctld -i
slurmd -N node1
slurmd -N node2
for _ in $(seq 60); do
  if [ "$(idle_nodes)" = 2 ]; then
    echo "SLURM is up: export SLURM_CONF=$SLURM_CONF"
    exit 0
  fi
  sleep 0.5
done
echo "SLURM did not come up in 30 s; the last lines of $folder/log:" >&2
tail -n 5 "$folder"/log/*.log >&2
exit 1
