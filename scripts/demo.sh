#!/usr/bin/env bash
# From nothing to a fitted shape: trains on a built-in sample, measures, exports the mesh, and says where everything is.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
sample=${1:-knot}

ns-train winner-sdf --data "sample:$sample" --output-dir demo --max-num-iterations 1000
run=$(ls -td "demo/$sample/winner-sdf"/*/ | head -n 1)
run=${run%/}
ns-eval --load-config "$run/config.yml" --output-path "$run/eval.json"
winner-export mesh --load-config "$run/config.yml" --output "demo/$sample.ply" --resolution 160
cp "$run/target-fit-error.png" "demo/$sample.png"

echo
echo "the fitted mesh:             demo/$sample.ply"
echo "target, fit, error:           demo/$sample.png"
echo "the metrics:                 $run/eval.json"
echo "look at it in a browser:     .venv/bin/ns-viewer --load-config $run/config.yml --viewer.websocket-host 127.0.0.1"
