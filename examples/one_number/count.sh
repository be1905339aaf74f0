#!/bin/sh
# Adds 1 to the number in a file, many times, beside count.js and count.py: they have nothing in common but the file and the
# lock's name.
#
# sh count.sh FILE [HOW_MANY]
file=$1
many=${2:-40}
left=$many
while [ "$left" -gt 0 ]; do
    interlock run one-number -- sh -c '
        number=0
        [ ! -e "$1" ] || read -r number <"$1"
        echo $((number + 1)) >"$1"
    ' sh "$file" || exit
    left=$((left - 1))
done
echo "sh added $many"
