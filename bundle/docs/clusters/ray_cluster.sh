#!/bin/bash
# Starts a Ray cluster on the nodes of the Slurm job that it runs in, runs a command on the first, and stops all:
#
#   bash docs/clusters/ray_cluster.sh python -m scripts.tune --search configs/search/distmis_grid.json --address auto
#
# The command finds the cluster by RAY_ADDRESS; its exit code is this file's. The nodes should be the job's alone, and
# see the folder that the job was submitted from.
#
# To change on your cluster: where the first node's name resolves to a network that the others cannot reach, set
# HEAD_ADDRESS to its IPv4 address there. RAY_PORT is the port on it (made of the job's number); others are Ray's choice.
#
# Only processes that have the job's token get in (Ray 2.52 or newer): a file that its owner alone can read, removed at
# the end. Nothing secret is in this file, the environment or a command line.
#
# Tested with Slurm 22.05, Ray 2.60 and CPUs (tests/clusters). Untested on GPUs.

set -euo pipefail
seconds_to_start=${RAY_START_SECONDS:-300}

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=${HEAD_ADDRESS:-$(getent ahostsv4 "$head" | awk 'NR == 1 {print $1}')}
case "$address" in
    "" | 127.*)
        echo "error: the first node, $head, resolves to '$address' here; set HEAD_ADDRESS to its address." >&2
        exit 1 ;;
esac
export RAY_ADDRESS="$address:${RAY_PORT:-$((20000 + SLURM_JOB_ID % 10000))}"

export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$PWD/.ray-token-$SLURM_JOB_ID"
(umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$RAY_AUTH_TOKEN_PATH")
stop() {
    code=$?
    # A Ray that is told so by its srun takes its processes down with it.
    kill $(jobs -p) 2> /dev/null || true
    wait || true
    rm -f "$RAY_AUTH_TOKEN_PATH"
    exit "$code"
}
trap stop EXIT
trap 'exit 143' TERM

resources=(--num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --disable-usage-stats --block)
node=(srun --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" --kill-on-bad-exit=1)

# A folder of its own: /tmp/ray belongs to whoever used Ray on the node first.
"${node[@]}" --nodes=1 --nodelist="$head" \
    ray start --head --node-ip-address="$address" --port="${RAY_ADDRESS##*:}" --temp-dir="${TMPDIR:-/tmp}/ray-$SLURM_JOB_ID" \
    --include-dashboard=false "${resources[@]}" &
started=$SECONDS
until ray health-check --address "$RAY_ADDRESS" > /dev/null 2>&1; do
    if [ $((SECONDS - started)) -ge "$seconds_to_start" ] || [ -z "$(jobs -r)" ]; then
        echo "error: no Ray head at $RAY_ADDRESS after $((SECONDS - started)) s; its output is above." >&2
        exit 1
    fi
    sleep 1
done

if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    # Each gives the address of its node's name: Ray would choose the one by which it reaches the internet.
    "${node[@]}" --nodes="$((SLURM_JOB_NUM_NODES - 1))" --exclude="$head" bash -c \
        'exec ray start --node-ip-address="$(getent ahostsv4 "$SLURMD_NODENAME" | awk "NR == 1 {print \$1}")" "$@"' \
        ray --address="$RAY_ADDRESS" "${resources[@]}" &
fi
python - "$SLURM_JOB_NUM_NODES" "$seconds_to_start" <<'PYTHON'
import sys
import time

import ray

wanted, seconds = map(int, sys.argv[1:])
ray.init(log_to_driver=False)
deadline = time.monotonic() + seconds
while (alive := sum(node["Alive"] for node in ray.nodes())) < wanted:
    if time.monotonic() > deadline:
        sys.exit(f"error: {alive} of {wanted} nodes have joined Ray after {seconds} s.")
    time.sleep(1)
PYTHON
ray status

# In the background, so that a signal to this shell is seen at once.
"$@" &
wait $!
