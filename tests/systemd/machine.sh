#!/usr/bin/env bash
# machine.sh SHARED UNIT: boots a separate systemd, as a container manager does,
# and exits with its status. SHARED is a folder that the machine sees as
# /machine and may write to; UNIT, a file in it, is started once the machine is
# up. The project is at /source, read-only.
#
# The host does not change. The machine's root is an overlay: the host's files
# are read, and a tmpfs above them receives every write and ends with the machine.
# Processes, mounts, network, host name, System V objects and the cgroup tree are
# its own, and it lacks the capabilities that act outside them. MACHINE_ROOT names
# another tree to boot than the host's own.
#
# Exit status 77: it cannot run here, and a line on standard error says why.
set -Eeuo pipefail

readonly CANNOT=77
readonly PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly SELF=$PROJECT/tests/systemd/machine.sh
# Above the machine's namespaces: the clock, kernel modules, the kernel's log, raw memory, its audit.
readonly OUT_OF_REACH=-sys_time,-sys_module,-sys_boot,-sys_rawio,-syslog,-mac_admin,-mac_override,-audit_control

cannot() {
    printf '%s\n' "$*" >&2
    exit "$CANNOT"
}

# --- outside: a private mount namespace, a cgroup, and the end ----------------

# Everything mounted from here on is unmounted with the last process that sees it.
outside() {
    [ "$(id -u)" -eq 0 ] || cannot "it needs root to boot a machine"
    [ -e "${MACHINE_ROOT:-/}/lib/systemd/systemd" ] || cannot "systemd is not installed"
    local tool
    for tool in unshare setpriv setsid pivot_root; do
        command -v "$tool" >/dev/null || cannot "$tool is not installed"
    done
    unshare --mount --pid --fork --cgroup --uts --ipc --net true 2>/dev/null || cannot "namespaces are refused"
    exec unshare --mount --propagation private "$SELF" --hold "$@"
}

# Holds the machine: the end of this process ends the machine.
hold() {
    local shared=$1
    trap 'cannot "failed: $BASH_COMMAND"' ERR
    mkdir -p "$shared/ground"
    mount -t tmpfs -o mode=0755 machine "$shared/ground"
    # Mounted again, since that of a container is often read-only or of version 1.
    mkdir "$shared/ground/cgroup"
    mount -t cgroup2 cgroup "$shared/ground/cgroup"
    # From inside, so that it can still be removed if SHARED is removed first.
    cd "$shared/ground/cgroup"
    cgroup=reindexd-test-$$
    mkdir "$cgroup" 2>/dev/null || cannot "control groups cannot be made"
    trap - ERR

    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # A session of its own: Ctrl-C is for this process, not for the machine's init.
    setpriv --pdeathsig KILL setsid unshare --pid --fork --kill-child=KILL "$SELF" --enter "$PWD/$cgroup" "$@" &
    machine=$!
    local status=0
    wait "$machine" || status=$?
    machine=
    exit "$status"
}

# The machine's init dies with the `unshare` that waits for it, and with it every process inside.
cleanup() {
    trap '' INT TERM # a second one must not cut this short
    if [ -n "${machine:-}" ]; then
        kill -KILL "$machine" 2>/dev/null || true
        wait "$machine" 2>/dev/null || true
    fi
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null && return
        sleep 0.05
    done
    echo "not removed: an empty control group, $cgroup" >&2
}

# --- inside: process 1 of the machine ------------------------------------------

# Into the cgroup first: the namespace made after it then begins there.
enter() {
    local cgroup=$1
    shift
    echo 0 >"$cgroup/cgroup.procs"
    exec unshare --mount --propagation private --cgroup --uts --ipc --net "$SELF" --boot "$@"
}

boot() {
    local shared=$1 unit=$2
    trap 'cannot "failed: $BASH_COMMAND"' ERR
    local ground=$shared/ground root=$shared/ground/root
    # What must differ from the host is written to the upper layer before the
    # overlay is mounted, so that no line here ever writes below a host's path.
    mkdir -p "$ground"/{upper/etc,work,root,nothing}
    printf '%032x\n' "$RANDOM" >"$ground/upper/etc/machine-id"
    mount -t overlay -o "lowerdir=${MACHINE_ROOT:-/},upperdir=$ground/upper,workdir=$ground/work" machine "$root"
    cd "$root"

    local folder
    for folder in tmp var/tmp; do fresh 1777 "$folder"; done
    for folder in run var/log var/lib/systemd machine source; do fresh 0755 "$folder"; done
    # A database is read without locks only on file systems that are known, and the layers of this overlay
    # cannot be reached from inside the machine.
    fresh 0755 srv
    kernel_folders
    devices
    mount --bind "$shared" machine
    mount --bind "$PROJECT" source
    mount -o remount,bind,ro source

    # None of the host's services: without their settings, their links for the
    # boot, and the units that generators make from fstab and the like.
    fresh 0755 etc/systemd
    for folder in usr/lib/systemd/system/*.wants usr/lib/systemd/system-generators; do
        mount --bind "$ground/nothing" "$folder"
    done
    mkdir etc/systemd/system
    cp "$shared/$unit" etc/systemd/system/

    pivot_root . .
    umount -l .
    cd /
    # As container managers do: without it a service sees its credentials as an empty folder.
    mount --make-rshared /
    trap - ERR
    exec env -i container=reindexd-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        setpriv --bounding-set "$OUT_OF_REACH" --inh-caps "$OUT_OF_REACH" \
        /lib/systemd/systemd --system --unit="$unit" --log-target=console --log-level=notice --show-status=no
}

fresh() { # MODE FOLDER: an empty folder in memory
    mkdir -p "$2"
    mount -t tmpfs -o "mode=$1" machine "$2"
}

# The parts of the kernel without namespaces are read-only.
kernel_folders() {
    mount -t proc proc proc
    local one
    for one in proc/sys proc/sysrq-trigger; do
        [ -e "$one" ] || continue
        mount --bind "$one" "$one"
        mount -o remount,bind,ro "$one"
    done
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup sys/fs/cgroup
}

devices() {
    fresh 0755 dev
    local one
    for one in null zero full random urandom tty; do
        : >"dev/$one"
        mount --bind "/dev/$one" "dev/$one"
    done
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
    mount -t tmpfs -o mode=1777 machine dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
}

case $1 in
    --hold | --enter | --boot) "${1#--}" "${@:2}" ;;
    *) outside "$@" ;;
esac
