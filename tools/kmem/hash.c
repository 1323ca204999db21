/* SPDX-License-Identifier: MIT */
/* hash.c - the factors of hash.h. Where getrandom(2) has nothing, or is not allowed, it is what the kernel gave the program. */
#include "hash.h"

#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

uint64_t hash_odd, hash_odd_too;

__attribute__((constructor)) static void draw(void)
{
	uint64_t drawn[2] = { 0 };
	const void *given = (const void *)getauxval(AT_RANDOM);

	if (getrandom(drawn, sizeof(drawn), GRND_NONBLOCK) != sizeof(drawn) && given)
		memcpy(drawn, given, sizeof(drawn));
	hash_odd = drawn[0] | 1;
	hash_odd_too = drawn[1] | 1;
}
