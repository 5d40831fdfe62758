#!/bin/sh
# Loads kernel modules into the rig's guest, makes their devices, then becomes node with a script of the repository.
# usage: run.sh NODE SCRIPT MODULE[:PARAMETERS] ... ; a comma in PARAMETERS stays one, a plus divides them
node=$1 script=$2
shift 2
mark() { echo "{\"kind\":\"mark\",\"name\":\"$1\",\"detail\":\"$2\"}" >> "$RIG_RESULTS"; }
mark guest "$(cut -d' ' -f1 /proc/uptime) s since the kernel began"
for item in "$@"; do
  module=${item%%:*}
  parameters=
  [ "$item" = "$module" ] || parameters=$(echo "${item#*:}" | tr + ' ')
  while read -r name; do
    [ -d "/sys/module/$name" ] && continue
    own=
    [ "$name" = "$(echo "$module" | tr - _)" ] && own=$parameters
    # shellcheck disable=SC2086
    busybox insmod "$RIG_MODULES/$name.ko" $own || mark insmod-failed "$name"
  done < "$RIG_MODULES/$module.order"
done
mark modules "$(cut -d' ' -f1 /proc/uptime) s since the kernel began"
exec "$node" --disable-warning=ExperimentalWarning "$script"
