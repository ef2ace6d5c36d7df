# with-modules.sh MODULES COMMAND...: runs a command with MODULES as its /proc/modules, where the kernel has no such file.
# For a mount namespace of its own. A file cannot be added to /proc, so a folder of links to its entries takes its place.
modules=$1
shift
if [ ! -e /proc/modules ]; then
    real=$(mktemp -d) && mount --rbind /proc "$real" && mount -t tmpfs none /proc || exit 125
    for entry in "$real"/*; do
        case ${entry##*/} in [0-9]*) ;; *) ln -s "$entry" /proc/ ;; esac
    done
    cp "$modules" /proc/modules
fi
exec "$@"
