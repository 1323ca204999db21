/* SPDX-License-Identifier: MIT */
/*
 * dlclose.c - dlclose(3), so that who records the program sees which modules there were.
 *
 * Only while something is recorded: a look (trace/look.c) before, if modules have come since the last one, as this may be the last moment
 * of one of them; and one after, if a module has gone. The dynamic linker counts both (dl_iterate_phdr(3)). So a library that others
 * have open still, or that stays for good, costs no look, and one that comes and goes two.
 *
 * A dlopen() of another thread waits meanwhile, as the new module may come to the place of the one that goes before that was seen: the
 * dynamic linker would have it wait for the most part anyway. One that has got as far as the linker's lock by then does not.
 *
 * Where modules come and go without this, in the C library itself (NSS, iconv), nobody is told.
 *
 * No locks of ours; wherever dlclose() may be called.
 */
#include "interpose/next.h"
#include "lib/compiler.h"
#include "trace/trace.h"

#include <link.h>

typedef int dlclose_function(void *handle);

/* How many came and went, ever. */
struct changes {
	unsigned long long adds, subs;
};

/* What had come when the reader looked last. */
static unsigned long long seen_adds;

static int note(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct changes *changes = arg;

	(void)size;
	*changes = (struct changes){ info->dlpi_adds, info->dlpi_subs };
	return 1;
}

static struct changes changes_now(void)
{
	struct changes changes = { 0 };

	dl_iterate_phdr(note, &changes);
	return changes;
}

static void look(const struct changes *changes)
{
	if (trace_look())
		__atomic_store_n(&seen_adds, changes->adds, __ATOMIC_RELAXED);
}

exported int dlclose(void *handle)
{
	static void *found;
	dlclose_function *next = (dlclose_function *)next_function(&found, "dlclose");
	struct changes before, after;
	int status;

	if (trace_mode() == TRACE_OFF)
		return next(handle);
	before = changes_now();
	if (before.adds != __atomic_load_n(&seen_adds, __ATOMIC_RELAXED))
		look(&before);
	trace_hold_loads();
	status = next(handle);
	after = changes_now();
	if (after.subs != before.subs)
		look(&after);
	trace_release_loads();
	return status;
}
