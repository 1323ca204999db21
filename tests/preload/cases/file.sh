# SPDX-License-Identifier: MIT
# file on many kinds; it shuts itself in with a seccomp filter before it looks.
set -euo pipefail

echo "plain text" >text
printf '#!/bin/sh\necho hello\n' >shell
printf '\211PNG\r\n\032\n\000\000\000\rIHDR\000\000\000\020\000\000\000\020\010\002\000\000\000' >picture
printf 'GIF89a\001\000\001\000' >gif
printf '%%PDF-1.4\n' >pdf
printf '{"a": [1, 2, {"b": null}]}\n' >json
head -c 2000 /dev/zero >zeroes
gzip -nc text >text.gz
tar --mtime=@0 --owner=0 --group=0 --numeric-owner -cf archive.tar text shell
ln -s text link
mkfifo pipe
: >empty
file -- *
file -i -- *
file -b /bin/sh /bin/bash /usr/bin/file
file -k text.gz
file -z text.gz
file -f <(printf '%s\n' text json pdf)
find . -type f | sort | file -b -f - | sort | uniq -c
file no-such-file
