#!/bin/sh
# latency_test.sh HOST PORT [PREFIX]: the single pass against a service that runs. Sends each of the 160 texts once, in
# order, and prints `Query 1` to `Query 160`, each with the service's answer. With PREFIX, Locust's CSV files and ours
# are written there (PREFIX_stats.csv, PREFIX_requests.csv, ...).
# For any POSIX shell: `sh infra/latency_test.sh` is dash on Debian and Ubuntu.
set -eu
unset CDPATH
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
fi
script=$0
while [ -h "$script" ]; do # this file may be reached through a link
  target=$(readlink "$script")
  case $target in
    /*) script=$target ;;
    *) script=$(dirname "$script")/$target ;;
  esac
done
prefix=${3-}
case $prefix in
  "" | /*) ;;
  *) prefix=$PWD/$prefix ;;
esac
cd "$(dirname "$script")/.."
python=.venv/bin/python
if [ ! -x "$python" ]; then
  python=python3
fi
if ! "$python" -E -c 'import locust' 2>/dev/null; then
  echo "error: no Locust; run 'make setup' first" >&2
  exit 1
fi
# -E: without the user's PYTHON* variables.
exec "$python" -E -X utf8 -m infra.single_pass "$1" "$2" ${prefix:+"$prefix"}
