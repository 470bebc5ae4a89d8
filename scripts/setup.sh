#!/usr/bin/env bash
# Makes .venv and installs the project into it with the tested set of packages. Run again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "error: $python is missing or older than Python 3.10; name another with PYTHON=/path/to/python3" >&2
    exit 1
fi
stamp=.venv/installed
state=$(cat pyproject.toml constraints.txt | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$state" ]; then
    exit 0
fi

echo "Installing into .venv: nerfstudio and PyTorch with CUDA take about 8 GB and some minutes."
if [ ! -x .venv/bin/pip ] && ! "$python" -m venv .venv; then
    echo "error: $python cannot make a virtual environment; on Debian or Ubuntu: sudo apt-get install python3-venv" >&2
    exit 1
fi
constraints=()
if .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    constraints=(-c constraints.txt)
else
    echo "constraints.txt holds the set tested on Python 3.11; another Python lets pip choose."
fi
.venv/bin/pip install --quiet --disable-pip-version-check "${constraints[@]}" -e '.[dev]'

# A wheel may want a system library that is not there: say which package brings it.
for module in igl mcubes cv2 open3d; do
    problem=$(.venv/bin/python -c "import $module" 2>&1 >/dev/null | tail -n 1) || true
    library=$(sed -n 's/.*ImportError: \(lib[^:]*\): cannot open shared object file.*/\1/p' <<<"$problem")
    [ -n "$library" ] || continue
    case $library in
        libusb-1.0.*) package=libusb-1.0-0 ;;
        libGL.so.*) package=libgl1 ;;
        libEGL.so.*) package=libegl1 ;;
        libgomp.so.*) package=libgomp1 ;;
        libX11.so.*) package=libx11-6 ;;
        *) package="the package that has $library" ;;
    esac
    if [ "$module" = open3d ]; then
        echo "note: open3d lacks $library; only nerfstudio's own ns-export needs it: sudo apt-get install $package"
    else
        echo "error: $module lacks $library: sudo apt-get install $package, then run this again" >&2
        exit 1
    fi
done
echo "$state" >"$stamp"
echo "Done. Activate it with: source .venv/bin/activate"
