#!/bin/busybox sh
# First process of the rig's guest: the host's root read-only over 9p under a writable layer of memory, then one job.
b=/bin/busybox
say() { read up _ < /proc/uptime 2>/dev/null; echo "RIG $up $*"; }
give_up() { say "FAILED $*"; $b sleep 1; $b poweroff -f; $b sleep 60; }

$b mkdir -p /dev /proc /sys /host /layer /new
$b mount -t devtmpfs dev /dev || give_up "mount devtmpfs"
$b mount -t proc proc /proc || give_up "mount proc"
$b mount -t sysfs sys /sys || give_up "mount sysfs"
say init
while read -r module; do
  $b insmod "/modules/$module.ko" || give_up "insmod $module"
done < /modules/order

# cache=loose: the host's files are taken not to change while the guest runs.
options=trans=virtio,version=9p2000.L,msize=524288
$b mount -t 9p -o "ro,cache=loose,$options" hostroot /host || give_up "mount the host's root"
$b mount -t tmpfs -o mode=755 layer /layer && $b mkdir /layer/upper /layer/work
$b mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /new ||
  give_up "mount the writable layer"
$b mkdir -p /new/dev /new/proc /new/sys /new/run
$b mount -t tmpfs -o mode=755 run /new/run && $b mkdir /new/run/rig /new/run/lock
# cache=none: the host reads each result line as it is written.
$b mount -t 9p -o "rw,cache=none,$options" rig /new/run/rig || give_up "mount the share for results"
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts devpts /dev/pts
$b mount -t tmpfs -o mode=1777 shm /dev/shm
$b mount -t configfs config /sys/kernel/config 2>/dev/null
$b mount -t securityfs security /sys/kernel/security 2>/dev/null
for tree in dev proc sys; do $b mount --move "/$tree" "/new/$tree" || give_up "move $tree"; done
$b mkdir -p /proc && $b mount -t proc proc /proc
$b ip link set lo up
$b hostname rig

# A job that becomes the first process itself: the root moves to the new one, and nothing is left of this script.
case " $($b cat /new/proc/cmdline) " in
  *" rig.job=init "*)
    say "job as init"
    exec $b switch_root /new /bin/sh /run/rig/job.sh < /dev/null
    ;;
esac

say job
$b chroot /new /bin/sh /run/rig/job.sh < /dev/null
say "ended $?"
$b umount /new/run/rig || $b sync
$b poweroff -f
$b sleep 60
