/* SPDX-License-Identifier: MIT
 *
 * micro: micro-benchmarks of whatever malloc is loaded, one family per path.
 *
 * A program of Google Benchmark (see gbench.h), so it takes its options. A family FAMILY
 * that has controls (controls.c) is also there as limit:FAMILY, on a thread's own list, and
 * as empty:FAMILY, on calls that do nothing, with the same arguments.
 *
 * items_per_second is by wall time; what an item is, --describe says. tools/bench starts one
 * process per family and allocator.
 */
#include "micro.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static const struct family *const tables[] = {
	pair_families,	 batch_families, churn_families, call_families,	  realloc_families,
	thread_families, slow_families,	 large_families, memory_families,
};

static void reset_controls(const struct gb_state *state, void *arg)
{
	controls_reset();
}

static void add_control(const struct family *family, const char *kind, gb_function *run)
{
	struct gb_benchmark *b;
	char name[80];

	if (!run)
		return;
	snprintf(name, sizeof(name), "%s:%s", kind, family->name);
	b = gb_register(name, run, NULL);
	gb_setup(b, reset_controls, NULL);
	if (family->args)
		family->args(b);
}

static void add_family(const struct family *family)
{
	struct gb_benchmark *b = gb_register(family->name, family->run, NULL);

	if (family->args)
		family->args(b);
	add_control(family, "limit", family->limit);
	add_control(family, "empty", family->empty);
}

static void for_each_family(void (*call)(const struct family *))
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct family *family = tables[i]; family->name; family++)
			call(family);
	if (kernel_calls_found())
		for (const struct family *family = kernel_families; family->name; family++)
			call(family);
}

/* The file that malloc comes from. */
static const char *malloc_file(void)
{
	Dl_info info;

	if (!dladdr((void *)malloc, &info))
		die("no file has malloc");
	return info.dli_fname;
}

/* No text in the tables needs anything quoted. */
static void describe_family(const struct family *family)
{
	static const char *separator = "";

	printf("%s\n{\"family\":\"%s\",\"group\":\"%s\",\"item\":\"%s\",", separator, family->name,
	       family->group, family->item);
	if (family->curve)
		printf("\"curve\":\"%s\",", family->curve);
	else
		printf("\"curve\":null,");
	printf("\"alone\":%s,\n \"about\":\"%s\"}", family->alone ? "true" : "false",
	       family->about);
	separator = ",";
}

static void describe(void)
{
	printf("[");
	for_each_family(describe_family);
	printf("\n]\n");
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--which")) {
		puts(malloc_file());
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "--describe")) {
		describe();
		return 0;
	}
	controls_init();
	tables_init();
	for_each_family(add_family);
	gb_add_custom_context("malloc", malloc_file());
	return gb_main(argc, argv);
}
