#!/usr/bin/env bash
# From nothing to a fitted shape: trains on a built-in sample, measures, exports the mesh, and says where everything is.
#   bash scripts/demo.sh [knot | cog | urchin | gyroid-ball]
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
sample=${1:-knot}

ns-train winner-sdf --data "sample:$sample" --output-dir demo --max-num-iterations 1000 || {
    status=$?
    [ "$status" = 3 ] || exit "$status" # 3 is a fit that would gain by more steps
}
run=$(ls -td "$PWD/demo/$sample/winner-sdf"/*/ | head -n 1)
run=${run%/}
ns-eval --load-config "$run/config.yml" --output-path "$run/eval.json"
winner-export mesh --load-config "$run/config.yml" --output "demo/$sample.ply" --resolution 160
cp "$run/target-fit-error.png" "demo/$sample.png"

echo
echo "the fitted mesh:             $PWD/demo/$sample.ply"
echo "target, fit, error:          $PWD/demo/$sample.png"
echo "the metrics:                 $run/eval.json"
echo "look at it in a browser:     $PWD/.venv/bin/ns-viewer --load-config $run/config.yml --viewer.websocket-host 127.0.0.1"
