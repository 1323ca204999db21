/* SPDX-License-Identifier: MIT */
/*
 * Libraries opened at run time, that allocate in their constructors, and whose blocks the program frees, and the other way
 * round; by plain dlopen, and with RTLD_DEEPBIND, which must not give the library a malloc of its own.
 */
#define _GNU_SOURCE
#include "check.h"

static void *find(void *lib, const char *name)
{
	void *sym = dlsym(lib, name);

	CHECK(sym != NULL, "%s", name);
	return sym;
}

static void plain(const char *path, int flags)
{
	void *lib = dlopen(path, RTLD_NOW | flags);

	CHECK(lib != NULL, "dlopen: %s", dlerror());
	int (*check)(void) = (int (*)(void))find(lib, "plugin_check");
	char *(*give)(size_t) = (char *(*)(size_t))find(lib, "plugin_give");
	void (*take)(char *) = (void (*)(char *))find(lib, "plugin_take");

	CHECK(check() == 64, "the constructor's objects");
	for (size_t n = 1; n < 1000000; n = n * 3 + 1) {
		char *p = give(n);

		CHECK(p != NULL && p[0] == 'g' && p[n - 1] == 'g', "plugin_give(%zu)", n);
		free(p);
		take(hide(malloc(n)));
	}
	CHECK(check() == 64, "the constructor's objects afterwards");
	CHECK(dlclose(lib) == 0, "dlclose: %s", dlerror());
}

int main(int argc, char **argv)
{
	char path[4096];

	CHECK(argc == 1 && argv[0][0] == '/', "start it by its absolute path");
	check_library();
	snprintf(path, sizeof(path), "%s", argv[0]);
	snprintf(strrchr(path, '/'), sizeof(path) - (strrchr(path, '/') - path), "/plugin.so");
	for (int i = 0; i < 50; i++)
		plain(path, i % 2 ? RTLD_LOCAL : RTLD_GLOBAL);
	say("dlopen, allocate, dlclose: 50 times");
	for (int i = 0; i < 10; i++)
		plain(path, RTLD_DEEPBIND);
	say("the same with RTLD_DEEPBIND: 10 times");
	CHECK(dlopen("/nowhere/nothing.so", RTLD_NOW) == NULL && dlerror() != NULL,
	      "a missing library");
	CHECK(dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere") == NULL && dlerror() != NULL,
	      "a missing symbol");
	say("dlerror's own allocations: fine");
	return 0;
}
