#!/usr/bin/env bash
# Builds the image with buildah (no daemon), starts its server in a container, and generates an image
# from it, with the client inside the container and, where it is built, with the one of this tree.
#
#   tools/dev/container_check.sh [--variant cpu|cuda] [--base registry|debootstrap] [--keep]
#
# --base debootstrap makes the Debian base image from the package mirror of this machine, for one that
# reaches no container registry. --keep leaves the image in buildah's storage as localhost/skipstream:VARIANT,
# and the layers it was made of, which make the next build short.
# The machine's own apt and pip settings (mirror, certificates) are mounted while building and are not
# part of the image.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly base_name=docker.io/library/debian:bookworm-slim
variant=cpu
base=registry
keep=false
while (($#)); do
  case $1 in
    --variant) variant=$2 && shift 2 ;;
    --base) base=$2 && shift 2 ;;
    --keep) keep=true && shift ;;
    *) sed -n '5,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
  esac
done
command -v buildah >/dev/null || { echo 'container: needs buildah: apt-get install buildah' >&2 && exit 1; }
((EUID == 0)) || { echo 'container: needs root (chroot isolation)' >&2 && exit 1; }

readonly image=localhost/skipstream:$variant
work=$(mktemp -d)
readonly work
# vfs and chroot need neither overlayfs nor user namespaces: this also works inside a container.
buildah=(buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run")
if $keep; then buildah=(buildah --storage-driver vfs); fi
readonly buildah

server_pid='' run_pid='' container=''
stop() {
  local status=$?
  trap - EXIT
  if [[ -n $server_pid ]]; then
    kill -TERM "$server_pid" 2>/dev/null || true
    wait "$run_pid" 2>/dev/null || true
  fi
  if [[ -n $container ]]; then "${buildah[@]}" rm "$container" >/dev/null || true; fi
  if ((status != 0)) && [[ -s $work/server.log ]]; then cat "$work/server.log" >&2; fi
  rm -rf "$work"
  exit "$status"
}
trap stop EXIT

say() { printf '==> %s\n' "$*"; }

# What bookworm-slim is: a minimal Debian without documentation and locales.
make_base() {
  command -v debootstrap >/dev/null ||
    { echo 'container: needs debootstrap: apt-get install debootstrap' >&2 && exit 1; }
  local mirror root=$work/base from
  # shellcheck disable=SC2016 # for apt-get to expand
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' |
    awk '$2 == "bookworm" { print $1; exit }')
  debootstrap --variant=minbase bookworm "$root" "${mirror:-http://deb.debian.org/debian}" >"$work/debootstrap.log" ||
    { tail "$work/debootstrap.log" >&2 && exit 1; }
  rm -rf "$root"/usr/share/{doc,info,locale,man}/* "$root"/var/{cache,lib}/apt/*/* "$root"/var/log/*.log
  mkdir -p "$root"/var/{cache/apt/archives,lib/apt/lists}/partial "$root/usr/share/man/man1"
  from=$("${buildah[@]}" from scratch)
  "${buildah[@]}" add --quiet "$from" "$root" / >/dev/null
  "${buildah[@]}" config --cmd bash "$from"
  "${buildah[@]}" commit --quiet --rm "$from" "$base_name" >/dev/null
  rm -rf "$root"
}

# Options that lend the machine's package settings to the build.
lent_settings() {
  local path
  for path in /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/apt/preferences.d; do
    if [[ -d $path ]]; then printf '%s\n' "--volume=$path:$path:ro"; fi
  done
  if [[ -f /etc/apt/sources.list ]]; then echo '--volume=/etc/apt/sources.list:/etc/apt/sources.list:ro'; fi
  local certificates
  certificates=$(python3 -m pip config get global.cert 2>/dev/null || true)
  certificates=${PIP_CERT:-$certificates}
  {
    echo '[global]'
    local index
    index=$(python3 -m pip config get global.index-url 2>/dev/null || true)
    index=${PIP_INDEX_URL:-$index}
    if [[ -n $index ]]; then echo "index-url = $index"; fi
    if [[ -n $certificates ]]; then echo 'cert = /run/lent-certificates.crt'; fi
  } >"$work/pip.conf"
  echo "--volume=$work/pip.conf:/etc/pip.conf:ro"
  if [[ -n $certificates ]]; then
    echo "--volume=$(realpath "$certificates"):/run/lent-certificates.crt:ro"
  fi
}

if [[ $base == debootstrap ]] && ! "${buildah[@]}" inspect --type image "$base_name" &>/dev/null; then
  say "Making the base image with debootstrap"
  make_base
fi

say "Building $image"
mapfile -t settings < <(lent_settings)
"${buildah[@]}" bud --isolation chroot --network host --format docker "--layers=$keep" \
  --build-arg "VARIANT=$variant" "${settings[@]}" --tag "$image" .
size=$("${buildah[@]}" images --format '{{.Size}}' "$image")

say "Starting the server in a container"
container=$("${buildah[@]}" from --pull-never "$image")
run=("${buildah[@]}" run --isolation chroot "$container" --)
readonly run
mkfifo "$work/stdout"
# Its own process id comes first: buildah forwards no signals, and chroot isolation shares process ids.
# shellcheck disable=SC2016 # for the container's shell to expand
"${run[@]}" bash -c 'echo $$; exec skipstream-server "$@"' - \
  --listen=127.0.0.1:0 --metrics_listen=127.0.0.1:0 >"$work/stdout" 2>"$work/server.log" &
run_pid=$!
exec 3<"$work/stdout"
read -r -t 60 server_pid <&3
read -r -t 120 line <&3
readonly address=${line#listening on }

"${run[@]}" skipstream health "--server=$address"
"${run[@]}" skipstream generate "--server=$address" --class=fox --seed=1 --nfe=9 --out=- >"$work/inside.png"
if [[ -x build/release/bin/skipstream ]]; then
  build/release/bin/skipstream generate "--server=$address" --class=fox --seed=1 --nfe=9 --out=- \
    >"$work/outside.png"
  cmp "$work/inside.png" "$work/outside.png"
fi
[[ $(head -c 8 "$work/inside.png" | od -An -tx1) == ' 89 50 4e 47 0d 0a 1a 0a' ]]

say "Stopping it: SIGTERM drains and exits with 0"
kill -TERM "$server_pid"
server_pid=
wait "$run_pid"

mkdir -p build
cp "$work/inside.png" "build/container-$variant.png"
say "The container of $image ($size) made build/container-$variant.png"
