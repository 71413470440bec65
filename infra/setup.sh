#!/bin/sh
# setup.sh REQUIREMENTS: make .venv and install REQUIREMENTS there; does nothing where that has been done.
# PYTHON names the Python to use; without it, the newest of 3.13, 3.12 and 3.11 that is there.
set -eu
unset CDPATH
cd "$(dirname "$0")/.."
requirements=${1:?usage: setup.sh REQUIREMENTS}
venv=.venv

# PYTHONPATH, PYTHONHOME and the like are other projects' settings.
for name in $(env | sed -n 's/^\(PYTHON[A-Z0-9_]\{1,\}\)=.*/\1/p'); do
  unset "$name"
done

fail() { echo "error: $*" >&2; exit 1; }

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; }

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    command -v "$PYTHON" >/dev/null || fail "PYTHON=$PYTHON is not there"
    fits "$PYTHON" || fail "PYTHON=$PYTHON is $("$PYTHON" --version 2>&1); Fourfold needs Python 3.11, 3.12 or 3.13"
    echo "$PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && fits "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "Fourfold needs Python 3.11, 3.12 or 3.13; found $(python3 --version 2>&1 || echo none). Install one, or name it: make PYTHON=/path/to/python3.12"
}

python=$(find_python)
wanted=$(cat "$requirements" requirements.txt inference/requirements*.txt infra/setup.sh infra/install.py | cksum)
if [ -f $venv/installed ] && [ -x $venv/bin/python ] && grep -qxF "$wanted" $venv/installed; then
  exit 0
fi
for module in venv ensurepip; do
  "$python" -c "import $module" 2>/dev/null ||
    fail "$("$python" --version) comes without the module $module; install it (Debian, Ubuntu: sudo apt install python3-venv) and run again"
done
case $requirements in
  infra/requirements-doctor.txt) takes="five small packages" ;;
  *) takes="PyTorch and all: some minutes the first time" ;;
esac
echo "setting up $venv with $("$python" --version) ($takes) ..."
if ! { [ -x $venv/bin/python ] && fits $venv/bin/python; }; then
  "$python" -m venv --clear $venv
fi
rm -f $venv/installed.new
$venv/bin/python -X utf8 -m infra.install "$requirements"
{ cat $venv/installed 2>/dev/null || true; echo "$wanted"; } >$venv/installed.new
mv $venv/installed.new $venv/installed
