#!/usr/bin/env bash
# Stage 1 or stage 2 as a Slurm job; pre-empted, or out of time, it goes back to the queue and goes on.
# From the root of the checkout, any options of sbatch first:
#     sbatch --nodes=1 --gres=gpu:8 --time=24:00:00 tools/slurm_train.sh CONFIG [OPTIONS]
# A process per GPU of a node ($GPUS overrides). The run ends after the iteration in progress, with
# a checkpoint; the next start of the job resumes it. OPTIONS are those of tools/dist_train.sh.
#SBATCH --job-name=refaug-det
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
set -euo pipefail

CONFIG=${1:-}
if [[ -z $CONFIG || -z ${SLURM_JOB_ID:-} || ! -f tools/dist_train.sh ]]; then
    echo "error: usage: sbatch [OPTIONS of sbatch] tools/slurm_train.sh CONFIG [OPTIONS]," \
        "from the root of the checkout" >&2
    exit 2
fi
shift
export NNODES=$SLURM_JOB_NUM_NODES PORT=${PORT:-$((20000 + SLURM_JOB_ID % 20000))}
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR GPUS=${GPUS:-${SLURM_GPUS_ON_NODE:-1}}

trap 'scancel --signal=TERM "$SLURM_JOB_ID"' TERM  # its steps, not this script
# shellcheck disable=SC2016  # the variables are those of each node
srun --kill-on-bad-exit=0 bash -c 'NODE_RANK=$SLURM_NODEID exec bash tools/dist_train.sh \
    "$0" "$GPUS" --resume "$@"' "$CONFIG" "$@" &
step=$!
while kill -0 "$step" 2>/dev/null; do wait "$step" || true; done  # `wait` also ends at a signal
code=0
wait "$step" || code=$?
# 143: asked to end, by pre-emption or near the time limit. A job that was cancelled is not running.
if [[ $code -eq 143 && $(squeue --noheader --format=%T --jobs="$SLURM_JOB_ID") == RUNNING ]]; then
    echo "asked to end: back to the queue"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
