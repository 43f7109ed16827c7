#!/usr/bin/env bash
# Lint, types, import contract and the whole test suite.
#
#   bash launch/test.sh                  # everything; what needs a SLURM or an sshd only as root on Debian or Ubuntu
#   bash launch/test.sh --fast           # without the tests marked slow
#   bash launch/test.sh --cluster        # those alone: SLURM, sshd, torchrun and deepspeed with several hosts
#   bash launch/test.sh tests/data -k leap   # further arguments go to pytest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. launch/environment.sh
use_environment test

fast="" selection=()
case ${1:-} in
  --fast) shift && fast="not slow and " selection=(-m "not slow") ;;
  --cluster) shift && selection=(-m cluster) ;;
esac
# Ranks times threads must not exceed the cores; the distributed tests start up to two ranks.
export OMP_NUM_THREADS=1
rules=(--line-length 120 --target-version py310)
"$python" -m ruff format "${rules[@]}" --check --quiet weather tests || fail "run: ruff format ${rules[*]} weather tests"
"$python" -m ruff check "${rules[@]}" --quiet --select E,F,I,UP,B,SIM,W,C4,PIE,RET --ignore B904 weather tests
"$python" -m mypy
"$python" -c "from importlinter.cli import lint_imports_command; lint_imports_command()" --no-cache
if [ $# -gt 0 ] || { [ ${#selection[@]} -gt 0 ] && [ -z "$fast" ]; }; then
  "$python" -m pytest ${selection[@]+"${selection[@]}"} "$@"
else # all of them: first, two at a time, what needs no more than a core
  failed=0
  "$python" -m pytest -m "${fast}side_by_side" --numprocesses 2 || failed=$?
  # Jobs of a SLURM and of several hosts mostly wait, for daemons and walltimes: the rest runs meanwhile.
  # Job control gives them a process group, which an interrupt ends as a whole.
  cluster_log=$(mktemp)
  set -m
  "$python" -m pytest -m "${fast}cluster" > "$cluster_log" 2>&1 < /dev/null &
  cluster=$!
  set +m
  interrupted() {
    kill -INT -- "-$cluster" || true
    wait "$cluster" || true
    cat "$cluster_log" && rm "$cluster_log"
    exit 130
  }
  trap interrupted INT TERM
  "$python" -m pytest -m "${fast}not side_by_side and not cluster" || failed=$?
  wait "$cluster" || { status=$? && [ "$status" = 5 ] || failed=$status; } # 5: --fast leaves out all of them
  cat "$cluster_log" && rm "$cluster_log"
  exit "$failed"
fi
