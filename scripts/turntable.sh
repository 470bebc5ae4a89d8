#!/usr/bin/env bash
# Makes a video of a fitted shape or volume from all sides: bash scripts/turntable.sh RUN/config.yml [VIDEO.mp4]
# Needs ffmpeg. These environment variables change the video:
# SECONDS_LONG (duration), FRAMES (number of pictures), SIZE (width and height in pixels).
set -euo pipefail
config=${1:-}
if [ ! -f "$config" ]; then
    echo "error: ${config:-no run given}: not a file; usage: bash scripts/turntable.sh RUN/config.yml [VIDEO.mp4]" >&2
    exit 1
fi
video=${2:-$(dirname "$config")/turntable.mp4}
if ! command -v ffmpeg >/dev/null; then
    echo "error: ffmpeg, which writes the video, is not installed; on Debian or Ubuntu: sudo apt-get install ffmpeg" >&2
    exit 1
fi
export PATH="$(cd "$(dirname "$0")/.." && pwd)/.venv/bin:$PATH"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python -W ignore -m winner_nerfstudio.nerfstudio.viewer.turntable --load-config "$config" --output "$folder/orbit.json" \
    --seconds "${SECONDS_LONG:-5}" --frames "${FRAMES:-120}" --size "${SIZE:-512}"
ns-render camera-path --load-config "$config" --camera-path-filename "$folder/orbit.json" \
    --output-path "$folder/turntable.mp4"
mkdir -p "$(dirname "$video")"
mv "$folder/turntable.mp4" "$video"
echo "the video: $video"
