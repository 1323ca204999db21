/* SPDX-License-Identifier: MIT */
/*
 * Pointers that malloc never gave out: free ignores them, follows none, and goes on. Run under
 * the library only.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>

#include "check.h"

static char in_bss[4096];
static char in_data[64] = "data";
static _Thread_local char in_tls[64];

static void free_all_kinds(void)
{
	char on_stack[256] = "stack";
	size_t page = sysconf(_SC_PAGESIZE), n = 8 << 20;
	char *mapped = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *closed = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const uintptr_t numbers[] = {
		1,
		8,
		16,
		4096,
		0x10000,
		0xdeadbeef,
		(uintptr_t)1 << 46,
		((uintptr_t)1 << 47) - 16,
		(uintptr_t)1 << 47,
		(uintptr_t)1 << 56,
		(uintptr_t)1 << 63,
		UINTPTR_MAX - 4095,
		UINTPTR_MAX - 15,
		UINTPTR_MAX,
	};

	CHECK(mapped != MAP_FAILED && closed != MAP_FAILED, "mmap");
	memset(mapped, 'm', n);
	errno = EXDEV;
	for (int i = 0; i < 16; i++) {
		free(hide(on_stack + 16 * i));
		free(hide(in_bss + 256 * i));
		free(hide(mapped + i * page));
		free(hide(mapped + i * page + 16));
		free(hide(mapped + (n >> 4) * i));
		free(hide(closed + (n >> 4) * i));
	}
	free(hide(in_data));
	free(hide(in_tls));
	free(hide((void *)"a literal"));
	free(hide((void *)(uintptr_t)free_all_kinds));
	free(hide(sbrk(0)));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		free(hide((void *)numbers[i]));
	CHECK(errno == EXDEV, "free changed errno");
	CHECK(strcmp(on_stack, "stack") == 0 && strcmp(in_data, "data") == 0,
	      "free wrote into a foreign object");
	for (size_t i = 0; i < n; i++)
		CHECK(mapped[i] == 'm', "free wrote into a foreign mapping");
	munmap(mapped, n);
	munmap(closed, n);
}

static void *in_a_thread(void *arg)
{
	free_all_kinds();
	return arg;
}

int main(void)
{
	pthread_t thread;
	unsigned char *p[500];

	check_library();
	free_all_kinds();
	for (int i = 0; i < 500; i++) {
		CHECK((p[i] = hide(malloc(i * 300 + 1))) != NULL, "malloc");
		pattern_fill(p[i], i * 300 + 1, i);
	}
	free_all_kinds();
	CHECK(pthread_create(&thread, NULL, in_a_thread, NULL) == 0, "pthread_create");
	pthread_join(thread, NULL);
	for (int i = 0; i < 500; i++) {
		CHECK(pattern_ok(p[i], i * 300 + 1, i), "an object of our own changed");
		free(p[i]);
	}
	free_all_kinds();
	say("foreign pointers: ignored, nothing written, allocation goes on");
	return 0;
}
