# SPDX-License-Identifier: MIT
# A program that gains rights when it starts (AT_SECURE) does not heed KMALLOC_CMDLINE. The loader ignores a preload
# there, so the program is linked with the library. Under the library only; needs root, to make a file setuid.
set -euo pipefail

skip() {
	echo "$1"
	exit 77
}

[[ $EUID == 0 ]] || skip "only root can give a program another owner"
lib=$LD_PRELOAD
unset LD_PRELOAD
cp "$lib" libkmalloc.so
cat >secure.c <<'END_OF_C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>

int main(void)
{
	Dl_info info = { 0 };

	free(malloc(100));
	dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info);
	printf("secure %lu, malloc of %s\n", getauxval(AT_SECURE), info.dli_fname);
	return 0;
}
END_OF_C
gcc -O1 -fno-builtin secure.c -o plain -Wl,--no-as-needed "$PWD/libkmalloc.so" -Wl,-rpath,"$PWD"
cp plain setuid
chown 65534 setuid
chmod u+s setuid

export KMALLOC_CMDLINE="stat no.such.parameter=1"
./plain >out 2>err
grep -qx "secure 0, malloc of $PWD/libkmalloc.so" out
grep -q 'no.such.parameter' err
grep -q 'slabinfo - version: 2.1' err
echo "plain: parameters heeded"
./setuid >out 2>err
grep -q '^secure 1' out || skip "setuid has no effect in $PWD"
grep -qx "secure 1, malloc of $PWD/libkmalloc.so" out
if [[ -s err ]]; then
	cat err >&2
	exit 1
fi
echo "setuid: the library is there, the parameters are ignored"
