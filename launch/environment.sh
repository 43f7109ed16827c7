# Sourced by quickstart.sh and test.sh: sets $python to an interpreter that can run the project.
#
#   use_environment EXTRAS   e.g. plot
#
# Makes .venv with the known-good versions of constraints.txt, once, and again when those or setup.cfg change.
# WEATHER_PYTHON=python takes an environment that already has torch (a ROCm one, say) as it is and installs nothing.

fail() {
  echo "error: $*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in python3 python python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python 3.10 or newer found; install one, or name it: WEATHER_PYTHON=/path/to/python"
}

use_environment() {
  local extras=$1 stamp wanted
  if [ -n "${WEATHER_PYTHON:-}" ]; then
    python=$WEATHER_PYTHON
    "$python" -c 'import torch, numpy, h5py, yaml, pydantic, rich, matplotlib' \
      || fail "$python lacks a package (above); install there, all but torch: h5py PyYAML pydantic rich matplotlib"
    return
  fi
  stamp=.venv/installed-$extras
  wanted=$(cat setup.cfg launch/constraints.txt | cksum)
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    [ -x .venv/bin/python ] || "$(find_python)" -m venv .venv \
      || fail "cannot make .venv; on Debian and Ubuntu: apt-get install python3-venv"
    echo "installing into .venv (some minutes, once) ..."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c launch/constraints.txt -e ".[$extras]" \
      || fail "the installation failed (above)"
    echo "$wanted" > "$stamp"
  fi
  python=.venv/bin/python
}
