#!/usr/bin/env bash
# Stage 1 or stage 2 on several processes, as in OpenMMLab's repositories:
#     tools/dist_train.sh CONFIG GPUS [OPTIONS of tools/train_cls.py or tools/train_det.py]
# A config in configs/det, or the option --backbone, means stage 2. Several machines: set
# NNODES, NODE_RANK, MASTER_ADDR and PORT. Without a GPU it uses gloo.
set -euo pipefail

CONFIG=${1:-}
GPUS=${2:-}
if ! [[ $GPUS =~ ^[1-9][0-9]*$ ]]; then
    echo "error: usage: tools/dist_train.sh CONFIG GPUS [OPTIONS]" >&2
    exit 2
fi
shift 2
TOOLS=$(cd "$(dirname "$0")" && pwd)
SCRIPT=train_cls.py
for word in "$CONFIG" "$@"; do
    case $word in
        */det/* | --backbone | --backbone=*) SCRIPT=train_det.py ;;
    esac
done

# the defaults of torchrun and mmengine, without their warnings
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
exec "${PYTHON:-python}" -m refaug_det.runs.torchrun \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$TOOLS/$SCRIPT" "$CONFIG" --launcher pytorch "$@"
