/* SPDX-License-Identifier: MIT */
/*
 * plugs.c - plugs FOLDER ROUNDS [MICROSECONDS [END]]: in each round open the three modules of plug.c, one after the other, call number N
 * 10 * N times, and close it. MICROSECONDS: to wait after each. END: "killed", the program kills itself; "alone", it is number 1
 * each time, and something is mapped at its place then, so that it is somewhere else the next time.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, dlerror());
	exit(2);
}

/* Returns where its code was. */
static void *run(const char *folder, int number)
{
	char path[4096];
	void (*call)(void);
	void *module;

	snprintf(path, sizeof(path), "%s/libplug%d.so", folder, number);
	module = dlopen(path, RTLD_NOW);
	if (!module)
		fail("dlopen");
	*(void **)&call = dlsym(module, "plug_call");
	if (!call)
		fail("dlsym");
	/* it stays, and goes at the second one */
	if (dlopen(path, RTLD_NOW) != module || dlclose(module) != 0)
		fail("dlclose");
	for (int i = 0; i < 10 * number; i++)
		call();
	if (dlclose(module) != 0)
		fail("dlclose");
	return (void *)((uintptr_t)call & ~4095UL);
}

int main(int argc, char **argv)
{
	bool alone = argc > 4 && !strcmp(argv[4], "alone");
	int rounds = argc > 2 ? atoi(argv[2]) : 1;
	useconds_t us = argc > 3 ? (useconds_t)atoi(argv[3]) : 0;

	if (argc < 2)
		return 2;
	for (int i = 0; i < rounds * 3; i++) {
		void *place = run(argv[1], alone ? 1 : i % 3 + 1);

		if (us)
			usleep(us);
		if (alone &&
		    mmap(place, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			return 2;
	}
	if (argc > 4 && !strcmp(argv[4], "killed"))
		kill(getpid(), SIGKILL);
	return 0;
}
