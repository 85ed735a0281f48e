#!/bin/sh
# Makes a text of real words out of what a Debian machine has: licences, package notes, Perl manuals, C headers.
#
#   tools/make-text.sh OUTPUT BYTES
#
# The text has exactly BYTES bytes, and is the same as long as the machine's packages are. Where there is not enough,
# it begins again. Exit status 2: wrong use, or there are no texts.
set -eu
export LC_ALL=C

fail() {
  echo "make-text.sh: $1" >&2
  exit 2
}
[ $# -eq 2 ] || fail 'usage: tools/make-text.sh OUTPUT BYTES'
output=$1 bytes=$2
case $bytes in '' | *[!0-9]* | ???????????????*) fail "'$bytes' is not a number of bytes." ;; esac

# English first. A folder that is not there is no loss.
texts() {
  find /usr/share/common-licenses -type f -print0 | sort -z
  find /usr/share/doc -type f \( -name copyright -o -name 'README*' -o -name 'NEWS*' -o -name '*.txt' \) \
    ! -name '*.gz' -print0 | sort -z
  find /usr/share/perl /usr/lib/x86_64-linux-gnu/perl-base -type f \( -name '*.pod' -o -name '*.pm' \) -print0 | sort -z
  find /usr/include -type f -print0 | sort -z
} 2>/dev/null

: >"$output"
size=0
while [ "$size" -lt "$bytes" ]; do
  texts | xargs -0r cat 2>/dev/null | head -c $((bytes - size)) >>"$output"
  before=$size
  size=$(wc -c <"$output")
  [ "$size" -gt "$before" ] || fail 'no texts under /usr/share/common-licenses, /usr/share/doc or /usr/include.'
done
