#!/bin/sh
# First process of the guest: installs the agent as systemd/README.md says, then becomes systemd with a target of this test's own.
# usage: boot.sh NODE SCRIPT MODULE[:PARAMETERS] ... , as run.sh takes them.
# The host's own configuration, generators and temporary files have no part in it: memory lies over them.
set -e
here=$(dirname "$0") node=$1 script=$2
root=$(cd "$here/../../../.." && pwd)
shift 2
b=/bin/busybox
trap 'echo "RIG boot.sh ended with $?"; $b sleep 1; $b poweroff -f' EXIT
mark() { echo "{\"kind\":\"mark\",\"name\":\"$1\",\"detail\":\"$($b cut -d' ' -f1 /proc/uptime) s since the kernel began\"}" >> "$RIG_RESULTS"; }

$b sh "$here/../run.sh" true true "$@"

# A stub of an SMBus with a chip that the kernel drives and a bare one; shared memory as a UIO device; an address that is
# not loopback's, for what a site allows and denies.
for adapter in /sys/bus/i2c/devices/i2c-*; do
  read -r name < "$adapter/name"
  case $name in *stub*) echo lm75 0x48 > "$adapter/new_device" ;; esac
done
echo 1af4 1110 > /sys/bus/pci/drivers/hilscher/new_id
$b ip address add 192.0.2.1/32 dev lo

cover() { $b mkdir -p "$@" && for place in "$@"; do $b mount -t tmpfs -o mode=755 memory "$place"; done; }
units=/usr/lib/systemd/system
$b cp /usr/lib/tmpfiles.d/systemd.conf /run/tmpfiles-of-systemd
# Without what distributions have started with these targets; rig.target names what it wants of that.
cover /etc/systemd /etc/tmpfiles.d /etc/modules-load.d /etc/udev /etc/credstore.encrypted /usr/lib/systemd/system-generators \
  $units/sysinit.target.wants $units/sockets.target.wants $units/timers.target.wants /usr/lib/tmpfiles.d /usr/lib/sysusers.d \
  /usr/lib/dsmil /var/lib/dsmil /etc/dsmil
$b mkdir -p /etc/systemd/system /etc/udev/rules.d
$b mv /run/tmpfiles-of-systemd /usr/lib/tmpfiles.d/systemd.conf
# A host that is a container says so here; systemd would then leave its mounts private, and give no credentials.
$b rm -f /.dockerenv /run/.containerenv
$b rm -f /etc/machine-id
echo d511000000000000000000000000d511 > /etc/machine-id

# The agent, where systemd/README.md has it.
$b cp "$root"/systemd/*.service "$root"/systemd/*.target $units/
$b cp "$root/systemd/sysusers.d-dsmil.conf" /usr/lib/sysusers.d/dsmil.conf
$b cp "$root/systemd/tmpfiles.d-dsmil.conf" /usr/lib/tmpfiles.d/dsmil.conf
$b cp "$root/systemd/udev.rules.d-70-dsmil.rules" /usr/lib/udev/rules.d/70-dsmil.rules
$b cp "$root/drivers/native/build/dsmil-safe-drive" /usr/lib/dsmil/dsmil-safe-drive
cd /usr/lib/dsmil
: > node
$b mount --bind "$node" node
$b mkdir -p build/bin drivers node_modules
for tree in build/bin drivers node_modules; do $b mount --bind "$root/$tree" $tree; done
echo '{ "type": "module" }' > package.json
# What the host compiled, for each user: Node names the directory by its version and the user.
$b cp -r "$root/build/compile-cache" build/
cd /
systemd-sysusers
cd /usr/lib/dsmil/build/compile-cache
mine=$(echo v*-"$($b id -u)")
for user in dsmil-kernel dsmil-security dsmil-interface; do $b ln -s "$mine" "${mine%-*}-$($b id -u $user)"; done
cd /
$b chmod -R a+rX /usr/lib/dsmil/build/compile-cache

# This site: its board and profiles, a PCI window of its own, a processor that may take its time, a network that it knows.
for place in /sys/bus/pci/devices/*; do
  read -r vendor < "$place/vendor"
  if [ "$vendor" = 0x1234 ]; then read -r address _ < "$place/resource"; fi
done
$b cp "$here"/*.yaml /etc/dsmil/
$b sed -i "s/0xfe800000/$address/" /etc/dsmil/board.yaml
$b cp "$here/71-site.rules" /etc/udev/rules.d/
$b mkdir -p /etc/systemd/system/dsmil-.service.d /etc/systemd/system/dsmil-interface.service.d
$b cp "$here/10-patience.conf" /etc/systemd/system/dsmil-.service.d/
$b cp "$here/10-network.conf" /etc/systemd/system/dsmil-interface.service.d/

$b cat > /etc/systemd/journald.conf <<END
[Journal]
Storage=volatile
ForwardToConsole=yes
TTYPath=/dev/ttyS0
MaxLevelConsole=notice
RateLimitIntervalSec=0
END
$b cat > /etc/systemd/system/rig.service <<END
[Unit]
Description=Tests of the units
After=basic.target systemd-udev-trigger.service
[Service]
Type=oneshot
TimeoutStartSec=infinity
Environment="RIG_RESULTS=$RIG_RESULTS" "NODE_COMPILE_CACHE=$NODE_COMPILE_CACHE" HOME=/root
ExecStart=$node --disable-warning=ExperimentalWarning $script
ExecStopPost=/usr/bin/systemctl poweroff --force --force
END
$b cat > /etc/systemd/system/rig.target <<END
[Unit]
Requires=basic.target
Wants=systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket
Wants=systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service
Wants=systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup.service rig.service
After=basic.target
# A unit that nothing names is forgotten once it has ended, and with it how it ended.
After=dsmil-kernel.service dsmil-security.service dsmil-interface.service dsmil-safe.service
END
trap - EXIT
mark installed
exec /usr/lib/systemd/systemd --unit=rig.target --show-status=no --log-target=journal-or-kmsg --log-level=notice
