#!/bin/bash
# Trains the bundle on plain hosts without a scheduler: one torchrun on each, started by ssh, all stopped when one fails.
#
#   PROCESSES=8 bash docs/clusters/hosts.sh HOST1 HOST2 -- --epochs 100 --dataset_dir /data/Task01_BrainTumour
#
# What follows -- overrides knobs of configs/train.json. Ctrl-C, or SIGTERM to this script, reaches the training on all
# hosts, which saves its state; the same command goes on from there.
#
# To change for your hosts:
#   - ssh must get in without a password, and the bundle and the data lie under the same path on all hosts;
#   - BUNDLE is that path (the folder from which this script is started), SETUP a file to source on each host first;
#   - MASTER_ADDR: the address by which the other hosts reach HOST1 (HOST1), and MASTER_PORT (29400) open on it, as well
#     as the ports above 32767, between the hosts;
#   - several networks: NCCL_SOCKET_IFNAME or GLOO_SOCKET_IFNAME, handed on, names the interface to use.
#
# Variables, all optional: PROCESSES of a host (1), CONFIGS, RUN_NAME (hosts), BUNDLE, SETUP, MASTER_ADDR, MASTER_PORT,
# SSH (ssh, with options). Needs bash 4.3 here. By hand it is this on each host, the first one's address in both:
#
#   torchrun --nnodes=2 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST1:29400 --local_addr=ITS_OWN_ADDRESS \
#       -m monai.bundle run --config_file "['configs/train.json','configs/multi_gpu_train.json']"
#
# Tested between two network namespaces, each with an sshd, on CPUs (tests/clusters). Untested on GPUs.

set -euo pipefail
hosts=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    hosts+=("$1")
    shift
done
if [ "${#hosts[@]}" = 0 ]; then
    echo "usage: hosts.sh HOST... [-- KNOB VALUE ...]" >&2
    exit 2
fi
shift $(($# > 0))

name=${RUN_NAME:-hosts}
configs=${CONFIGS:-"['configs/train.json','configs/multi_gpu_train.json']"}
master=${MASTER_ADDR:-${hosts[0]#*@}}
read -ra ssh <<< "${SSH:-ssh -o BatchMode=yes -o ServerAliveInterval=10 -o ServerAliveCountMax=3}"

# What a host runs. Its standard input is the connection: when that ends, so does the training, by SIGTERM.
remote='
set -eu
cd "$BUNDLE"
if [ -n "$SETUP" ]; then . "$SETUP"; fi
exec 3<&0
python -m torch.distributed.run "$@" < /dev/null 3<&- &
run=$!
{ read -r _ <&3 || true; kill -TERM "$run"; } 2> /dev/null &
watch=$!
code=0
wait "$run" || code=$?
kill "$watch" 2> /dev/null || true
exit "$code"
'

# The input of all connections: a pipe that stays open, and empty, until this script ends.
pipe=$(mktemp -u)
mkfifo -m 600 "$pipe"
exec 9<> "$pipe"
rm "$pipe"

# A single quote within single quotes.
quote="'\\''"

stop() {
    trap '' TERM INT
    kill $(jobs -p) 2> /dev/null || true
    wait || true
}
trap 'stop; exit 143' TERM
trap 'stop; exit 130' INT

for host in "${hosts[@]}"; do
    words=(env "BUNDLE=${BUNDLE:-$PWD}" "SETUP=${SETUP:-}")
    for variable in NCCL_SOCKET_IFNAME GLOO_SOCKET_IFNAME OMP_NUM_THREADS; do
        [ -z "${!variable:-}" ] || words+=("$variable=${!variable}")
    done
    words+=(bash -c "$remote" "$host"
        --nnodes="${#hosts[@]}" --nproc_per_node="${PROCESSES:-1}" --rdzv_backend=c10d
        --rdzv_endpoint="$master:${MASTER_PORT:-29400}" --rdzv_id="$name" --local_addr="${host#*@}"
        -m monai.bundle run --config_file "$configs" --run_name "$name" --ckpt_dir "models/$name" --resume auto "$@")
    # ssh joins the words to one line for the shell over there: in single quotes they arrive as they are here.
    line=
    for word in "${words[@]}"; do
        line+="'${word//\'/"$quote"}' "
    done
    "${ssh[@]}" "$host" "$line" <&9 9>&- &
done

for _ in "${hosts[@]}"; do
    code=0
    wait -n || code=$?
    if [ "$code" != 0 ]; then
        echo "error: a host ended with exit code $code; its output is above, the others are stopped." >&2
        stop
        exit "$code"
    fi
done
