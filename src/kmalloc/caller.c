/* SPDX-License-Identifier: MIT */
/*
 * caller.c - who called, from a return address.
 *
 * The kernel's counterpart is %pS over kallsyms. Here the dynamic linker is asked: dladdr()
 * knows the exported symbols of each module, takes the linker's lock and allocates nothing.
 * A handler that interrupted the allocator does not ask it, since the lock may be held by
 * the thread it interrupted; it gets the address alone.
 *
 * Which callers were warned of is a table of addresses, filled by compare-and-swap: a slot
 * once taken stays. No locks; any context.
 */
#include "kmalloc/caller.h"

#include "kmalloc/context.h"
#include "lib/fmt.h"

#include <dlfcn.h>
#include <link.h>

bool caller_is_new(const void *caller)
{
	return context_first_time(caller, PLACE_CALLER);
}

static const char *base_name(const char *path)
{
	const char *name = path;

	for (; *path; path++)
		if (*path == '/')
			name = path + 1;
	return name;
}

const char *caller_text(char *buf, const void *caller)
{
	const ElfW(Sym) *symbol = NULL;
	Dl_info info = { 0 };

	if (lock_in_atomic() || !dladdr1(caller, &info, (void **)&symbol, RTLD_DL_SYMENT) ||
	    !info.dli_fname)
		fmt_format(buf, CALLER_TEXT, "%p", caller);
	else if (info.dli_sname && symbol)
		fmt_format(buf, CALLER_TEXT, "%s+0x%lx/0x%lx [%s]", info.dli_sname,
			   (uintptr_t)caller - (uintptr_t)info.dli_saddr,
			   (unsigned long)symbol->st_size, base_name(info.dli_fname));
	else
		fmt_format(buf, CALLER_TEXT, "%s+0x%lx", base_name(info.dli_fname),
			   (uintptr_t)caller - (uintptr_t)info.dli_fbase);
	return buf;
}
