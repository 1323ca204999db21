/* SPDX-License-Identifier: MIT */
/*
 * util.c - copies of strings and memory: kstrdup(), kmemdup(), kasprintf() and their like.
 *
 * Mirrors mm/util.c and lib/kasprintf.c. kasprintf() formats with the C library, so it knows that one's
 * conversions and not the kernel's %pS and so on.
 *
 * kstrdup_const() keeps what can't change. For the kernel that is its own .rodata; here it is a segment,
 * without write permission, of whatever module the dynamic linker has loaded there. The module is
 * found without a lock (_dl_find_object(), glibc 2.35); before that, everything is copied.
 * A pointer that stays valid only while a library is loaded is the caller's matter, as a
 * module's is in the kernel.
 *
 * No state, no locks. errno is not touched.
 */
#include "kmalloc/gfp_alloc.h"
#include "kmalloc/slab.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

static void *copy(const void *source, size_t size, size_t extra, gfp_t gfp, const void *caller)
{
	char *object = __kmalloc_caller(size_add(size, extra), gfp, caller);

	if (likely(object) && size)
		memcpy(object, source, size);
	if (likely(object) && extra)
		object[size] = '\0';
	return object;
}

exported char *kstrdup(const char *text, gfp_t gfp)
{
	return text ? copy(text, strlen(text), 1, gfp, __builtin_return_address(0)) : NULL;
}

exported char *kstrndup(const char *text, size_t max, gfp_t gfp)
{
	return text ? copy(text, strnlen(text, max), 1, gfp, __builtin_return_address(0)) : NULL;
}

exported void *kmemdup(const void *source, size_t size, gfp_t gfp)
{
	return copy(source, size, 0, gfp, __builtin_return_address(0));
}

exported void *kmemdup_array(const void *source, size_t n, size_t size, gfp_t gfp)
{
	return copy(source, size_mul(n, size), 0, gfp, __builtin_return_address(0));
}

exported char *kmemdup_nul(const char *source, size_t size, gfp_t gfp)
{
	return source ? copy(source, size, 1, gfp, __builtin_return_address(0)) : NULL;
}

#ifdef DLFO_STRUCT_HAS_EH_DBASE /* glibc's header knows it */
extern int _dl_find_object(void *address, struct dl_find_object *result) __attribute__((weak));

/* The program headers are where the module's first page says; it is mapped as long as the module is. */
static bool is_read_only(const void *ptr)
{
	struct dl_find_object module;
	const ElfW(Ehdr) * header;
	const ElfW(Phdr) * segment;
	uintptr_t offset;

	if (!&_dl_find_object || _dl_find_object((void *)(uintptr_t)ptr, &module))
		return false;
	header = module.dlfo_map_start;
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
		return false;
	segment = (const void *)((const char *)header + header->e_phoff);
	offset = (uintptr_t)ptr - module.dlfo_link_map->l_addr;
	for (unsigned i = 0; i < header->e_phnum; i++, segment++)
		if (segment->p_type == PT_LOAD && offset - segment->p_vaddr < segment->p_memsz)
			return !(segment->p_flags & PF_W);
	return false;
}
#else
static bool is_read_only(const void *ptr)
{
	(void)ptr;
	return false;
}
#endif

exported const char *kstrdup_const(const char *text, gfp_t gfp)
{
	if (!text || is_read_only(text))
		return text;
	return copy(text, strlen(text), 1, gfp, __builtin_return_address(0));
}

exported void kfree_const(const void *text)
{
	if (!is_read_only(text))
		kfree(text);
}

static char *print(gfp_t gfp, const char *format, va_list args, const void *caller)
{
	int saved = errno;
	char *text = NULL;
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len >= 0)
		text = __kmalloc_caller((size_t)len + 1, gfp, caller);
	if (text)
		vsnprintf(text, (size_t)len + 1, format, args);
	errno = saved;
	return text;
}

exported char *kvasprintf(gfp_t gfp, const char *format, va_list args)
{
	return print(gfp, format, args, __builtin_return_address(0));
}

exported char *kasprintf(gfp_t gfp, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = print(gfp, format, args, __builtin_return_address(0));
	va_end(args);
	return text;
}
