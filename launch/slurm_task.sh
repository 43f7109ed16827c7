#!/usr/bin/env bash
# One rank, as srun starts it: slurm_task.sh COMMAND.
#
# `srun --kill-on-bad-exit` ends all ranks as soon as one exits with a status other than 0, which is right for failures
# and wrong for 75 (saved, start me again): the ranks that are still leaving would be killed, and srun would report it.
# Hence 75 becomes 0 here, and rank 0, which runs on the node of the batch script, leaves a mark for it.
set -uo pipefail

# bash waits for the command and lives on; the command itself gets the signals too, and has handlers of its own.
trap : USR1 USR2 TERM INT HUP

if [ -n "${WEATHER_NODE_CACHE:-}" ]; then
  mkdir -p "$WEATHER_NODE_CACHE" # on every node; the batch script runs on one only
fi
"$@"
status=$?
# 138: SIGUSR1 came before the command had a handler for it. It was asked to stop, and had nothing to save.
if [ "$status" = 75 ] || [ "$status" = 138 ]; then
  [ "$SLURM_PROCID" != 0 ] || touch "$WEATHER_STOPPED_MARK"
  status=0
fi
exit "$status"
