#!/usr/bin/env bash
# Makes .venv and installs the project into it with the tested set of packages: what a user of nerfstudio needs, or the
# extra that is named: bash scripts/setup.sh dev. Run again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "error: $python is missing or older than Python 3.10; name another with PYTHON=/path/to/python3" >&2
    exit 1
fi
if [ ! -x .venv/bin/pip ] && ! "$python" -m venv .venv; then
    echo "error: $python cannot make a virtual environment; on Debian or Ubuntu: sudo apt-get install python3-venv" >&2
    exit 1
fi
version=$(.venv/bin/python -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')
case $version in
    3.11 | 3.12) extras=nerfstudio,onnx ;;
    # The onnx that runs on 3.13 needs a newer protobuf than nerfstudio allows.
    *) extras=nerfstudio ;;
esac
extras=${1:-$extras}
stamp=.venv/installed-$extras
state=$(cat pyproject.toml constraints.txt | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$state" ]; then
    exit 0
fi

# Packages that nerfstudio needs and that have no wheels are compiled.
include=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
if ! command -v c++ >/dev/null || [ ! -f "$include/Python.h" ]; then
    echo "error: nerfstudio needs packages that are compiled here: sudo apt-get install build-essential python3-dev" >&2
    exit 1
fi
constraints=(-c constraints.txt)
case $version in
    3.11 | 3.12 | 3.13) ;;
    *)
        constraints=()
        echo "constraints.txt has sets for Python 3.11 to 3.13; for $version pip chooses, which takes longer."
        ;;
esac
echo "Installing [$extras] into .venv: nerfstudio and PyTorch with CUDA take about 8 GB and some minutes."
# uv needs a third of pip's time. Its downloads lie beside what it makes of them, so that they need no space of their own.
# pip has the word where its settings name another index, and where uv doesn't come to the end.
pip=(.venv/bin/pip --disable-pip-version-check)
cache=.venv/uv-cache
if "${pip[@]}" config list | grep -q '\.index-url=' ||
    ! "${pip[@]}" install --quiet ${constraints[@]+"${constraints[@]}"} uv ||
    ! UV_COMPILE_BYTECODE=${UV_COMPILE_BYTECODE:-1} .venv/bin/uv pip install --quiet --cache-dir $cache \
        --python .venv/bin/python ${constraints[@]+"${constraints[@]}"} -e ".[$extras]"; then
    "${pip[@]}" install --quiet ${constraints[@]+"${constraints[@]}"} -e ".[$extras]"
fi
rm -rf $cache

# A wheel may want a system library that is not there: say which package brings it.
for module in igl mcubes cv2 open3d; do
    problem=$(.venv/bin/python -c "import $module" 2>&1 >/dev/null | tail -n 1) || true
    library=$(sed -n 's/.*\(ImportError\|OSError\): \(lib[^:]*\): cannot open shared object file.*/\2/p' <<<"$problem")
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
        echo "note: open3d lacks $library, so ns-export fails until you run:" \
            "sudo apt-get install $package"
    else
        echo "error: $module lacks $library: sudo apt-get install $package, then run this again" >&2
        exit 1
    fi
done
echo "$state" >"$stamp"
echo "Done. Activate it with: source .venv/bin/activate"
