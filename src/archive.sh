#!/bin/sh
# SPDX-License-Identifier: MIT
# archive.sh PARTS.a OUTPUT.a DIRECTORY LD OBJCOPY AR: join the parts to one object without hidden names.
set -eu
parts=$1 output=$2 directory=$3 ld=$4 objcopy=$5 ar=$6
mkdir -p "$directory"
"$ld" -r -o "$directory/libkmalloc.o" --whole-archive "$parts"
"$objcopy" --localize-hidden "$directory/libkmalloc.o"
rm -f "$output"
"$ar" rcsD "$output" "$directory/libkmalloc.o"
