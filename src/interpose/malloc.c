/* SPDX-License-Identifier: MIT */
/*
 * malloc.c - the C, POSIX and glibc entry points.
 *
 * Each is a forwarder: overflow checks, errno, and the standard's result for
 * odd arguments; what the sizes mean is kmalloc/'s matter. Where the standards
 * leave a choice, glibc's is taken, since that is what the programs were built
 * with: realloc(p, 0) frees and returns NULL; malloc(0) is an object; an
 * alignment that is no power of two is rounded up by memalign and aligned_alloc.
 *
 * errno: ENOMEM on failure of what returns a pointer; posix_memalign returns
 * its error and leaves errno alone; free never touches it.
 *
 * Context: any, see kmalloc/kvmalloc.h. No state here.
 */
#include "interpose/malloc.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/observe.h"
#include "kmalloc/recorded.h"
#include "os/os.h"

#include <errno.h>

static cold_path void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

static cold_path void *malloc_observed(size_t size, const void *caller)
{
	int saved = errno;
	void *object = kvmalloc_observed(size, NULL, caller);

	errno = saved;
	return object ? object : no_memory();
}

/* Not cold: while calls are recorded each comes here. */
static busy_path void *malloc_recorded(size_t size, const void *caller, uintptr_t caller_sp)
{
	void *object = kmalloc_recorded(size, caller, caller_sp);

	return likely(object != NULL) ? object : malloc_observed(size, caller);
}

static cold_path void *malloc_missed(size_t size, const void *caller)
{
	void *object;
	int saved = errno;

	object = kvmalloc_missed(size, NULL, caller);
	errno = saved;
	return object ? object : no_memory();
}

static cold_path void *malloc_slow(size_t size, const void *caller, uintptr_t caller_sp)
{
	void *object;

	if (percpu_diverted_for_all())
		return malloc_recorded(size, caller, caller_sp);
	if (!observed())
		return malloc_missed(size, caller);
	object = kvmalloc_tested(size);
	if (object)
		return object;
	return observed_each() ? malloc_observed(size, caller) : malloc_missed(size, caller);
}

exported hot_path void *malloc(size_t size)
{
	void *object;

	if (likely(kmalloc_hit(size, &object)))
		return object;
	return malloc_slow(size, CALLER, CALLER_SP);
}

exported hot_path void free(void *ptr)
{
	kvmalloc_free(ptr);
}

static busy_path void *calloc_recorded(size_t size, const void *caller, uintptr_t caller_sp)
{
	void *object = kmalloc_recorded(size, caller, caller_sp);

	return object ? memset(object, 0, kmem_caches[kmalloc_index(size)].object_size) : NULL;
}

static cold_path void *calloc_slow(size_t size, const void *caller, uintptr_t caller_sp)
{
	void *object = NULL;

	if (percpu_diverted_for_all())
		object = calloc_recorded(size, caller, caller_sp);
	if (!object)
		object = kvmalloc_zeroed_slow(size, caller);
	return object ? object : no_memory();
}

exported void *calloc(size_t count, size_t size)
{
	size_t bytes;
	void *object;

	if (unlikely(__builtin_mul_overflow(count, size, &bytes)))
		return no_memory();
	if (likely(kvmalloc_zeroed_hit(bytes, &object)))
		return object;
	return calloc_slow(bytes, CALLER, CALLER_SP);
}

static always_inline void *resize(void *ptr, size_t size, const void *caller, uintptr_t caller_sp)
{
	void *object;

	if (likely(krealloc_hit(ptr, size)))
		return ptr;
	if (!ptr)
		return kmalloc_hit(size, &object) ? object : malloc_slow(size, caller, caller_sp);
	if (!size) {
		kvmalloc_free(ptr);
		return NULL;
	}
	object = kvmalloc_resize_at(ptr, size, caller, caller_sp);
	return likely(object != NULL) ? object : no_memory();
}

exported void *realloc(void *ptr, size_t size)
{
	return resize(ptr, size, CALLER, CALLER_SP);
}

exported void *reallocarray(void *ptr, size_t count, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(count, size, &bytes)))
		return no_memory();
	return resize(ptr, bytes, CALLER, CALLER_SP);
}

/* The next power of two; 0: there is none. */
static size_t round_up_alignment(size_t align)
{
	if (align <= KMALLOC_MIN_SIZE)
		return KMALLOC_MIN_SIZE;
	if (is_power_of_2(align))
		return align;
	return align > SIZE_MAX / 2 + 1 ? 0 : 2UL << ilog2(align);
}

static always_inline void *aligned(size_t align, size_t size, const void *caller)
{
	void *object;

	align = round_up_alignment(align);
	if (unlikely(!align)) {
		errno = EINVAL;
		return NULL;
	}
	object = kvmalloc_aligned(size, align, caller);
	return likely(object != NULL) ? object : no_memory();
}

exported void *memalign(size_t align, size_t size)
{
	return aligned(align, size, CALLER);
}

exported void *aligned_alloc(size_t align, size_t size)
{
	return aligned(align, size, CALLER);
}

exported int posix_memalign(void **out, size_t align, size_t size)
{
	void *object;

	if (unlikely(!is_power_of_2(align) || align % sizeof(void *)))
		return EINVAL;
	object = kvmalloc_aligned(size, align, CALLER);
	if (unlikely(!object))
		return ENOMEM;
	*out = object;
	return 0;
}

exported void *valloc(size_t size)
{
	return aligned(os_page_size, size, CALLER);
}

exported void *pvalloc(size_t size)
{
	if (unlikely(size > SIZE_MAX - os_page_size))
		return no_memory();
	return aligned(os_page_size, align_up(size, os_page_size), CALLER);
}

exported size_t malloc_usable_size(void *ptr)
{
	return ptr ? kvmalloc_size(ptr) : 0;
}

exported void free_sized(void *ptr, size_t size)
{
	(void)size;
	kvmalloc_free(ptr);
}

exported void free_aligned_sized(void *ptr, size_t align, size_t size)
{
	(void)align;
	(void)size;
	kvmalloc_free(ptr);
}

exported void cfree(void *ptr)
{
	kvmalloc_free(ptr);
}

/* glibc's own names for the same, which some programs were linked with. */
#define ALIAS(name, target) extern exported __typeof__(target) name alias_of(target)

ALIAS(__libc_malloc, malloc);
ALIAS(__libc_free, free);
ALIAS(__libc_calloc, calloc);
ALIAS(__libc_realloc, realloc);
ALIAS(__libc_reallocarray, reallocarray);
ALIAS(__libc_memalign, memalign);
ALIAS(__libc_valloc, valloc);
ALIAS(__libc_pvalloc, pvalloc);
ALIAS(__posix_memalign, posix_memalign);
