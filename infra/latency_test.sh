#!/usr/bin/env bash
# latency_test.sh HOST PORT [PREFIX]: the single pass against a service that runs. Sends each of the 160 texts once, in
# order, and prints `Query 1` to `Query 160`, each with the service's answer. With PREFIX, Locust's CSV files and ours
# are written there (PREFIX_stats.csv, PREFIX_requests.csv, ...).
set -euo pipefail
if [[ $# -lt 2 || $# -gt 3 ]]; then
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
if [[ ! -x $python ]]; then
  python=python3
fi
if ! "$python" -c 'import locust' 2>/dev/null; then
  echo "error: no Locust; run 'make setup' first" >&2
  exit 1
fi
csv=()
if [[ $# -eq 3 ]]; then
  csv=(--csv "$3")
fi
exec "$python" -m locust --locustfile "$root/locustfiles/single_pass.py" --headless --only-summary --loglevel WARNING \
  --host "http://$1:$2" ${csv[@]+"${csv[@]}"}
