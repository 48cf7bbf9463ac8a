#!/usr/bin/env bash
# Run a command that builds images on a Debian machine without a container engine and without an image
# hub (root is needed): without_engine.sh make image-test
#
# podman comes from Debian's packages, the base image from debootstrap: what debian:bookworm-slim holds,
# near enough. The machine's own settings of apt and pip are lent to the build by mounts, which leave
# nothing in the image. Everything lies in STATE and is removed in the end; KEEP=1 keeps it.
set -euo pipefail

STATE=${STATE:-/var/tmp/sge-serve-images}
NEEDED_GB=30
SUITE=bookworm
BASE=localhost/look-alike:$SUITE
export DEBIAN_FRONTEND=noninteractive
export CONTAINERS_STORAGE_CONF=$STATE/storage.conf CONTAINERS_CONF=$STATE/containers.conf
export TMPDIR=$STATE/tmp # layers of gigabytes pass through it

install_engine() {
    local missing=() name
    for name in podman runc debootstrap iptables catatonit; do
        command -v "$name" >/dev/null || missing+=("$name")
    done
    [ -d /usr/lib/cni ] || missing+=(containernetworking-plugins)
    ((${#missing[@]})) || return 0
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
}

# runc and cgroupfs work without systemd; crun asks for one version of cgroups throughout. podman's own
# limits may be above what a container of CI's may set.
configure_engine() {
    mkdir -p "$STATE"/{tmp,lent}
    cat >"$CONTAINERS_STORAGE_CONF" <<-END
		[storage]
		driver = "overlay"
		graphroot = "$STATE/graph"
		runroot = "$STATE/run"
	END
    cat >"$CONTAINERS_CONF" <<-END
		[containers]
		default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
		[network]
		network_backend = "cni"
		[engine]
		runtime = "runc"
		cgroup_manager = "cgroupfs"
		events_logger = "file"
	END
}

# One line for each archive: address and component as the machine itself has them.
archives() { apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' | sort -u; }

make_base() {
    podman image exists "$BASE" && return 0
    local root=$STATE/tmp/root site
    site=$(archives | awk -v suite="$SUITE" '$2 == suite {print $1; exit}')
    [ -n "$site" ] || { echo "this machine's apt has no source of $SUITE" >&2; exit 1; }
    rm -rf "$root"
    debootstrap --variant=minbase "$SUITE" "$root" "$site" >"$STATE/debootstrap.log"
    rm -rf "$root"/var/{cache/apt,lib/apt/lists,log}/* "$root"/usr/share/{doc,locale,man}/* \
        "$root"/etc/apt/sources.list "$root"/etc/{hostname,resolv.conf}
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup" # as the real one has these two
    echo 'Acquire::Languages "none";' >"$root/etc/apt/apt.conf.d/docker-no-languages"
    : >"$root/etc/apt/sources.list.d/debian.sources" # what is lent is mounted over these two
    : >"$root/etc/apt/apt.conf.d/99lent"
    tar -C "$root" --numeric-owner -c . | podman import --change 'CMD ["bash"]' \
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$BASE"
    rm -rf "$root"
}

lend() { flags+=(--volume "$1:$2:ro"); }

lend_apt_settings() {
    archives | awk -v suite="$SUITE" 'index($2, suite) == 1 {
        print "Types: deb\nURIs: " $1 "\nSuites: " $2 "\nComponents: " $3
        print "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n" }' >"$STATE/lent/sources"
    apt-config dump | grep -E '^Acquire::(https?|Retries|Check)' >"$STATE/lent/apt.conf" || true
    lend "$STATE/lent/sources" /etc/apt/sources.list.d/debian.sources
    lend "$STATE/lent/apt.conf" /etc/apt/apt.conf.d/99lent
}

pip_setting() {
    python3 -m pip config get "global.$1" 2>/dev/null ||
        python3 -m pip config get ":env:.$1" 2>/dev/null || true
}

lend_pip_settings() {
    local name value word
    echo '[global]' >"$STATE/lent/pip.conf"
    for name in index-url extra-index-url find-links trusted-host; do
        value=$(pip_setting "$name")
        [ -z "$value" ] || echo "$name = ${value//$'\n'/ }" >>"$STATE/lent/pip.conf"
        for word in $value; do # files and folders of this machine are lent too
            word=${word#file://}
            word=${word%/simple}
            [[ $word != /?* || ! -e $word ]] || lend "$(realpath "$word")" "$word"
        done
    done
    value=$(pip_setting cert)
    if [ -n "$value" ]; then # under a name of its own, since ca-certificates writes the usual one
        echo 'cert = /run/lent.crt' >>"$STATE/lent/pip.conf"
        lend "$(realpath "$value")" /run/lent.crt
    fi
    flags+=(--secret "id=pip.conf,src=$STATE/lent/pip.conf")
}

clean() {
    local mounted
    podman rm --all --force --time 1 >/dev/null 2>&1 || true
    while read -r mounted; do umount "$mounted" || true; done \
        < <(awk -v state="$STATE/" 'index($2, state) == 1 {print $2}' /proc/mounts | sort -r)
    if ! grep -q " $STATE/" /proc/mounts; then rm -rf --one-file-system "$STATE"; fi
}

install_engine
configure_engine
free_gb=$(df --output=avail --block-size=1G "$STATE" | tail -n 1)
((free_gb >= NEEDED_GB)) || { echo "$STATE has $free_gb GB left, images need $NEEDED_GB" >&2; exit 1; }
[ -n "${KEEP:-}" ] || trap clean EXIT
make_base
flags=(--isolation chroot --network host --pull=never --layers=false --build-arg "BASE=$BASE")
lend_apt_settings
lend_pip_settings
BUILD_FLAGS="${flags[*]} ${BUILD_FLAGS:-}" "$@"
