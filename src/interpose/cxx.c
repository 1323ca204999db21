/* SPDX-License-Identifier: MIT */
/*
 * cxx.c - operator new and delete, all forms, by their mangled names, so that
 * the library needs no C++ runtime.
 *
 * The hit path is malloc's. On failure [new.delete.single] asks for a loop: call the
 * new handler until memory is found, or throw bad_alloc where there is none. The
 * handler and the throw are the C++ runtime's, reached by weak references: a
 * program that has no C++ runtime calls none of these. An exception passes through
 * frames here, so this file is compiled with unwind tables (-fexceptions).
 *
 * The nothrow forms must swallow what a new handler throws, which takes a
 * catch: on failure they are left to the C++ runtime's own, which calls the
 * throwing form (ours) and catches.
 *
 * The sizes and alignments given to delete are not needed: the owner byte tells.
 */
#include "interpose/malloc.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/recorded.h"
#include "lib/die.h"

#include <dlfcn.h>
#include <errno.h>

typedef void (*new_handler)(void);
struct nothrow;

/* std::get_new_handler() and the runtime's throw; absent without a C++ runtime. */
extern new_handler std_get_new_handler(void) __asm__("_ZSt15get_new_handlerv")
	__attribute__((weak));
extern _Noreturn void std_throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv")
	__attribute__((weak));

static void *alloc(size_t size, size_t align, const void *caller)
{
	void *object;

	if (align > KMALLOC_MIN_SIZE)
		return kvmalloc_aligned(size, align, caller);
	if (likely(kmalloc_hit(size, &object)))
		return object;
	return kvmalloc_slow(size, NULL, caller);
}

static cold_path void *new_missed(size_t size, size_t align, const void *caller)
{
	for (;;) {
		int saved = errno;
		void *object = alloc(size, align, caller);
		new_handler handler;

		errno = saved;
		if (object)
			return object;
		handler = &std_get_new_handler ? std_get_new_handler() : NULL;
		if (handler) {
			handler();
			continue;
		}
		if (&std_throw_bad_alloc)
			std_throw_bad_alloc();
		die("operator new: no memory for %zu bytes, and no C++ runtime to throw", size);
	}
}

static busy_path void *new_recorded(size_t size, const void *caller, uintptr_t caller_sp)
{
	void *object = kmalloc_recorded(size, caller, caller_sp);

	return likely(object != NULL) ? object : new_missed(size, KMALLOC_MIN_SIZE, caller);
}

static cold_path void *new_slow(size_t size, const void *caller, uintptr_t caller_sp)
{
	return percpu_diverted_for_all() ? new_recorded(size, caller, caller_sp) :
					   new_missed(size, KMALLOC_MIN_SIZE, caller);
}

static always_inline void *new_object(size_t size)
{
	void *object;

	if (likely(kmalloc_hit(size, &object)))
		return object;
	return new_slow(size, CALLER, CALLER_SP);
}

/* What libstdc++ has under that name; NULL: it is not there. */
static void *runtime_symbol(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static cold_path void *new_nothrow_slow(size_t size, const struct nothrow *tag, const char *name,
					const void *caller)
{
	void *object = alloc(size, KMALLOC_MIN_SIZE, caller);
	void *(*next)(size_t, const struct nothrow *);

	if (object)
		return object;
	next = (__typeof__(next))runtime_symbol(name);
	return next ? next(size, tag) : NULL;
}

static void *new_aligned_nothrow(size_t size, size_t align, const struct nothrow *tag,
				 const char *name, const void *caller)
{
	void *object = alloc(size, align, caller);
	void *(*next)(size_t, size_t, const struct nothrow *);

	if (likely(object != NULL))
		return object;
	next = (__typeof__(next))runtime_symbol(name);
	return next ? next(size, align, tag) : NULL;
}

#define NEW(name) void *name(size_t size)
#define NEW_ALIGNED(name) void *name(size_t size, size_t align)
#define NEW_NOTHROW(name) void *name(size_t size, const struct nothrow *tag)
#define NEW_ALIGNED_NOTHROW(name) void *name(size_t size, size_t align, const struct nothrow *tag)

/* new and new[]: (size) */
NEW(_Znwm);
NEW(_Znam);
/* (size, align_val_t) */
NEW_ALIGNED(_ZnwmSt11align_val_t);
NEW_ALIGNED(_ZnamSt11align_val_t);
/* (size, nothrow_t const&) */
NEW_NOTHROW(_ZnwmRKSt9nothrow_t);
NEW_NOTHROW(_ZnamRKSt9nothrow_t);
/* (size, align_val_t, nothrow_t const&) */
NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t);
NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t);

exported NEW(_Znwm)
{
	return new_object(size);
}

exported NEW(_Znam)
{
	return new_object(size);
}

exported NEW_ALIGNED(_ZnwmSt11align_val_t)
{
	return new_missed(size, align, CALLER);
}

exported NEW_ALIGNED(_ZnamSt11align_val_t)
{
	return new_missed(size, align, CALLER);
}

exported NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
{
	void *object;

	if (likely(kmalloc_hit(size, &object)))
		return object;
	return new_nothrow_slow(size, tag, "_ZnwmRKSt9nothrow_t", CALLER);
}

exported NEW_NOTHROW(_ZnamRKSt9nothrow_t)
{
	void *object;

	if (likely(kmalloc_hit(size, &object)))
		return object;
	return new_nothrow_slow(size, tag, "_ZnamRKSt9nothrow_t", CALLER);
}

exported NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
{
	return new_aligned_nothrow(size, align, tag, "_ZnwmSt11align_val_tRKSt9nothrow_t", CALLER);
}

exported NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)
{
	return new_aligned_nothrow(size, align, tag, "_ZnamSt11align_val_tRKSt9nothrow_t", CALLER);
}

/* delete and delete[], by the types of what follows the pointer. */
#define DELETE(name, ...)                                                                          \
	void name(__VA_ARGS__);                                                                    \
	exported void name(__VA_ARGS__)                                                            \
	{                                                                                          \
		kvmalloc_free(ptr);                                                                \
	}

DELETE(_ZdlPv, void *ptr)
DELETE(_ZdaPv, void *ptr)
DELETE(_ZdlPvm, void *ptr, size_t size __attribute__((unused)))
DELETE(_ZdaPvm, void *ptr, size_t size __attribute__((unused)))
DELETE(_ZdlPvSt11align_val_t, void *ptr, size_t align __attribute__((unused)))
DELETE(_ZdaPvSt11align_val_t, void *ptr, size_t align __attribute__((unused)))
DELETE(_ZdlPvmSt11align_val_t, void *ptr, size_t size __attribute__((unused)),
       size_t align __attribute__((unused)))
DELETE(_ZdaPvmSt11align_val_t, void *ptr, size_t size __attribute__((unused)),
       size_t align __attribute__((unused)))
DELETE(_ZdlPvRKSt9nothrow_t, void *ptr, const struct nothrow *tag __attribute__((unused)))
DELETE(_ZdaPvRKSt9nothrow_t, void *ptr, const struct nothrow *tag __attribute__((unused)))
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, void *ptr, size_t align __attribute__((unused)),
       const struct nothrow *tag __attribute__((unused)))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, void *ptr, size_t align __attribute__((unused)),
       const struct nothrow *tag __attribute__((unused)))
