# shellcheck shell=bash disable=SC2154 # what the caller sets
# Sourced by slurm.sbatch and frontier.sbatch: trains, and comes back until the run is complete.
#
#   train_until_complete [--single-task] ARGUMENTS OF weather.train
#
# With --single-task, anywhere among them, srun starts one task on each node, and that starts the node's ranks
# (weather.train --devices); else srun starts every rank.
#
# The caller sets
#   script, project   the batch script and the folder that holds launch/ and weather/
#   srun_options      more options of srun, an array
# and may set
#   tasks_per_node    ranks on a node; else one for each GPU of a node, or one where there is none
#   cpus_per_task     cores of a rank; else an equal share of the node's
#   master_address    where rank 0 listens; else the first node
#
# In a job array (sbatch --array) %a in the arguments is the number of the task, as in sbatch's own --output.
#
# WEATHER_CPU_MASKS says on which cores each rank of a node runs: hexadecimal masks as of srun's --cpu-bind=mask_cpu.
# WEATHER_SBCAST names an archive of a packed environment (conda-pack, venv-pack), which is unpacked on every node's own
# disk, WEATHER_NODE_DISK or /tmp: many nodes that import torch from one file system wait for each other.
# WEATHER_PYTHON names the interpreter; else it is .venv/bin/python of the project where there is one, else python.

tasks_per_node="" cpus_per_task="" master_address="" # not those of the environment of sbatch
readonly STOPPED_IN_ORDER=75                         # exit status of weather.train: saved, start me again
most_starts=${WEATHER_MOST_STARTS:-200}              # a run that needs more of them is not worth its queueing
# What SLURM's commands take this job for. By SLURM_JOB_ID alone, one task of an array means all of them.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}

fail() {
  echo "error: $*" >&2
  exit 1
}

say() {
  echo "$(date '+%F %T') job $job: $*"
}

# Sets WEATHER_PYTHON to the copy of the environment on this and on every other node.
spread_environment() {
  local folder=${WEATHER_NODE_DISK:-/tmp}/weather-environment-$SLURM_JOB_ID
  [ -r "$WEATHER_SBCAST" ] || fail "WEATHER_SBCAST=$WEATHER_SBCAST cannot be read"
  say "copies $WEATHER_SBCAST to $folder on $SLURM_JOB_NUM_NODES node(s)"
  # --force: it is there already where a requeued job comes back to a node.
  sbcast --force "$WEATHER_SBCAST" "$folder.tar" \
    || fail "sbcast cannot write to ${folder%/*} of every node; name another folder: WEATHER_NODE_DISK=... sbatch ..."
  # shellcheck disable=SC2016 # the node's shell expands it
  srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 bash -euc '
    mkdir -p "$1"
    tar --extract --file "$1.tar" --directory "$1"
    rm "$1.tar"
    if [ -e "$1/bin/conda-unpack" ]; then "$1/bin/python" "$1/bin/conda-unpack"; fi' - "$folder" \
    || fail "$WEATHER_SBCAST cannot be unpacked in $folder"
  WEATHER_PYTHON=$folder/bin/python
}

find_python() {
  [ -z "${WEATHER_SBCAST:-}" ] || spread_environment
  python=${WEATHER_PYTHON:-}
  if [ -z "$python" ]; then
    python=$project/.venv/bin/python
    [ -x "$python" ] || python=python
  fi
  "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)' \
    || fail "$python has no torch; name one that has: WEATHER_PYTHON=/path/to/python sbatch ..."
  export PYTHONPATH=$project${PYTHONPATH:+:$PYTHONPATH} # so that the job may be submitted from any folder
  export PYTHONUNBUFFERED=1                              # a killed job keeps its last words
}

place_tasks() {
  local node_cpus=${SLURM_CPUS_ON_NODE:-1} gpus
  # What was asked for, such as 4 or a100:4, before what is there: with --exclusive that is all, but srun shows four.
  gpus=${SLURM_GPUS_PER_NODE:-${SLURM_GPUS_ON_NODE:-1}}
  tasks_per_node=${tasks_per_node:-${WEATHER_TASKS_PER_NODE:-${SLURM_NTASKS_PER_NODE:-${gpus##*:}}}}
  cpus_per_task=${cpus_per_task:-${SLURM_CPUS_PER_TASK:-$((node_cpus / tasks_per_node))}}
  [ "$cpus_per_task" -ge 1 ] \
    || fail "$tasks_per_node tasks on a node of which this job has $node_cpus CPU(s);" \
      "add --exclusive or --ntasks-per-node=$tasks_per_node to sbatch"
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cpus_per_task}
  [ -n "$master_address" ] || master_address=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  export MASTER_ADDR=$master_address
  # A port of its own for each job, so that two jobs on one node do not meet; below those of outgoing connections.
  export MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))
}

# Sets `arguments` and `single_task` from what follows the batch script.
take_arguments() {
  local word
  single_task="" arguments=()
  for word in "$@"; do
    if [ "$word" = --single-task ]; then
      single_task=yes
    else
      arguments+=("${word//%a/${SLURM_ARRAY_TASK_ID:-%a}}")
    fi
  done
}

# Sets `task_options`, of srun, and `tasks`, on a node; one task gets the cores of all its ranks.
divide_into_tasks() {
  if [ -n "$single_task" ]; then
    tasks=1
    task_options=(--cpus-per-task=$((tasks_per_node * cpus_per_task)))
    [ -z "${WEATHER_CPU_MASKS:-}" ] || task_options+=(--cpu-bind=none) # the task binds its ranks to cores of the masks
    arguments+=(--devices "$tasks_per_node" --num_nodes "$SLURM_JOB_NUM_NODES")
  else
    tasks=$tasks_per_node
    task_options=(--cpus-per-task="$cpus_per_task")
    [ -z "${WEATHER_CPU_MASKS:-}" ] || task_options+=(--cpu-bind="mask_cpu:$WEATHER_CPU_MASKS")
  fi
}

# The folders of the run and of its checkpoints; a config that cannot be used ends the job here, with one voice.
find_folders() {
  local config
  config=$("$python" -m weather.train "$@" --print-config) || exit 1
  { read -r run && read -r checkpoints; } < <("$python" -c '
import os, sys, yaml
config = yaml.safe_load(sys.stdin)
for section, key in (("experiment", "runs_dir"), ("training", "checkpoint_dir")):
    print(os.path.join(config[section][key], config["experiment"]["name"]))' <<<"$config")
}

# Step of the newest complete checkpoint, 0 if there is none. From the markers, without torch: time may be short.
newest_step() {
  "$python" -c '
import glob, json, sys
steps = [0]
for marker in glob.glob(glob.escape(sys.argv[1]) + "/checkpoint_*/COMPLETE"):
    try:
        steps.append(int(json.load(open(marker))["step"]))
    except (OSError, ValueError, KeyError):
        pass  # being removed, or damaged: not one to go on from
print(max(steps))' "$checkpoints"
}

# Steps of the whole run, as it said when it last began.
total_steps() {
  "$python" -c '
import json, sys
total = 0
for line in open(sys.argv[1] + "/metrics.jsonl"):
    if line.startswith(("{\"event\": \"start\"", "{\"event\": \"resume\"")) and line.endswith("\n"):
        total = int(json.loads(line)["total_steps"])
print(total)' "$run"
}

# A signal to this shell asks the ranks to save and leave. SIGTERM goes on as SIGUSR1: at a SIGTERM of its own, srun
# kills the tasks.
pass_on() {
  interrupted=1
  say "$1, passed on to the ranks"
  kill -USR1 "$srun_pid" 2>/dev/null || true
}

# Runs srun and gives 0, 75 or its failure in `status`.
run_tasks() {
  stopped_mark=$(mktemp -u "${TMPDIR:-/tmp}/weather-$SLURM_JOB_ID-XXXXXX")
  export WEATHER_STOPPED_MARK=$stopped_mark
  srun_pid=""
  trap 'pass_on SIGUSR1' USR1
  trap 'pass_on SIGTERM' TERM
  # In the background, because bash runs a trap only between commands, and in `wait`.
  srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks=$((SLURM_JOB_NUM_NODES * tasks)) --ntasks-per-node="$tasks" \
    --kill-on-bad-exit=1 "${task_options[@]}" "${srun_options[@]}" \
    bash "$project/launch/slurm_task.sh" "$python" -m weather.train "${arguments[@]}" &
  srun_pid=$!
  while true; do
    interrupted=0 status=0
    wait "$srun_pid" || status=$?
    [ "$interrupted" = 1 ] || break # else `wait` gave the signal, not the end of srun
  done
  # The end of the walltime may be announced while the job is about to requeue itself.
  trap '' USR1
  trap - TERM
  if [ "$status" = 0 ] && [ -e "$stopped_mark" ]; then
    status=$STOPPED_IN_ORDER
  fi
  rm -f "$stopped_mark"
}

job_state() {
  squeue --noheader --jobs="$job" --format=%T 2>/dev/null || echo UNKNOWN
}

# Where requeueing is forbidden: the same job once more, to start when this one has ended.
submit_again() {
  local options=(--nodes="$SLURM_JOB_NUM_NODES" --job-name="$SLURM_JOB_NAME" --dependency="afterany:$job")
  local record output
  record=$(scontrol show job --oneliner "$job")
  same() { # same OPTION VALUE [VALUES THAT MEAN NOTHING]: the option, as the job has it
    local option=$1 value=$2 nothing
    shift 2
    for nothing in "" "(null)" "N/A" "$@"; do
      [ "$value" != "$nothing" ] || return 0
    done
    options+=("--$option=$value")
  }
  asked() { # a field of the job's record
    sed -n "s/^.* $1=\([^ ]*\).*$/\1/p" <<<"$record"
  }
  same partition "${SLURM_JOB_PARTITION:-}"
  same account "${SLURM_JOB_ACCOUNT:-}"
  same qos "${SLURM_JOB_QOS:-}"
  same reservation "${SLURM_JOB_RESERVATION:-}"
  same array "${SLURM_ARRAY_TASK_ID:-}"
  same time "$(asked TimeLimit)" UNLIMITED
  same ntasks-per-node "${SLURM_NTASKS_PER_NODE:-}"
  same cpus-per-task "${SLURM_CPUS_PER_TASK:-}"
  same constraint "$(asked Features)"
  same mem "$(asked MinMemoryNode)" 0
  same mem-per-cpu "$(asked MinMemoryCPU)" 0
  if [ -n "${SLURM_GPUS_PER_NODE:-}" ]; then
    same gpus-per-node "$SLURM_GPUS_PER_NODE"
  else
    same gres "$(asked TresPerNode | sed 's/gres[:/]//g')"
  fi
  [ "$(asked OverSubscribe)" != NO ] || options+=(--exclusive)
  output=$(asked StdOut)
  # A file that the user has named goes on; by default each job has its own.
  [ "${output##*/}" = "$SLURM_JOB_NAME-$SLURM_JOB_ID.out" ] || same output "$output"
  sbatch --parsable "${options[@]}" "$script" "$@"
}

# The job goes on later.
come_back() {
  local next
  say "requeues itself" # before it does: this shell may be ended at once
  if scontrol requeue "$job"; then
    exec sleep 60 # SLURM ends it; an end of its own would race with that
  fi
  next=$(submit_again "$@") \
    || fail "can neither requeue this job nor submit it again; the run is saved: submit it by hand"
  say "requeueing is forbidden; goes on as job $next"
  exit 0
}

# Fails where the run would start for ever: without a gain, or with one that is too small for what is left.
judge_progress() {
  local before=$1 after=$2 total starts
  if [ "$after" -le "$before" ]; then
    fail "no progress: the newest checkpoint is of step $after, as it was when this job started, so another start" \
      "would end the same way; ask for more time (-t), or look above for what takes it"
  fi
  total=$(total_steps)
  starts=$(((total - after + after - before - 1) / (after - before)))
  say "stopped in good order, step $before to $after of $total; at this rate $starts more start(s)"
  [ "$starts" -le "$most_starts" ] \
    || fail "a start gains $((after - before)) step(s) of $total: that would take $starts more starts; ask for more" \
      "time (-t), look above for what takes it, or allow them: WEATHER_MOST_STARTS=$starts sbatch ..."
}

train_until_complete() {
  local before after restarts state
  trap '' USR1 # there is nothing to save yet, and the ranks know the end of the job (SLURM_JOB_END_TIME)
  find_python
  take_arguments "$@"
  find_folders "${arguments[@]}"
  place_tasks
  divide_into_tasks
  before=$(newest_step)
  restarts=${SLURM_RESTART_COUNT:-0} # absent in the first start
  say "start $((restarts + 1)) (SLURM_RESTART_COUNT $restarts) on $SLURM_JOB_NODELIST," \
    "$tasks_per_node ${single_task:+rank(s) in one }task(s) a node, $OMP_NUM_THREADS thread(s) each;" \
    "newest checkpoint: step $before"
  run_tasks
  [ "$status" != 0 ] || say "the run is complete"
  [ "$status" != 0 ] || exit 0
  after=$(newest_step)
  if [ "$status" != "$STOPPED_IN_ORDER" ]; then
    say "FAILED: srun ended with status $status (137: a rank was killed, as happens where memory is short); submitted" \
      "again, the run goes on from step $after"
    exit "$status"
  fi
  state=$(job_state)
  if [ "$state" != RUNNING ]; then
    # It was requeued, preempted or cancelled: how it goes on is decided.
    say "saved, step $before to $after; SLURM is ending this job ($state), so it is not requeued here"
    exit "$STOPPED_IN_ORDER"
  fi
  judge_progress "$before" "$after"
  come_back "$@"
}
