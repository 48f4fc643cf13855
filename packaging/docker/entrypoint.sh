#!/bin/sh
# Runs xarb and hands signals on. Docker restarts on every exit code but 0: a wrong config (2) and a kill (3), which must not be
# restarted, end the container with 0; what ended it stands in the last line.
child='' asked=''
hand_on() {
    asked=yes
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}
trap hand_on TERM INT
xarb "$@" &
child=$!
[ -z "$asked" ] || kill -TERM "$child" 2>/dev/null # it came before there was anyone to hand it to
wait "$child"
code=$?
while kill -0 "$child" 2>/dev/null; do # a signal ended the wait, not the process
    wait "$child"
    code=$?
done
case "$code" in
2 | 3)
    echo "xarb ended with $code: not to be restarted" >&2
    exit 0
    ;;
esac
exit "$code"
