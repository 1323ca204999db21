/* SPDX-License-Identifier: MIT */
/*
 * cleanup.h - variables that free what they hold when they go out of scope.
 *
 *	char *name __free(kfree) = kstrdup(text, GFP_KERNEL);
 *
 *	if (!name || broken(name))
 *		return NULL;			(name is freed)
 *	return_ptr(name);			(it is not: it is handed on)
 *
 * DEFINE_FREE(name, type, code) defines what __free(name) does; in `code` the variable is
 * called _T. A pointer may be an error as well as NULL, so `code` tests it.
 */
#ifndef KMALLOC_CLEANUP_H
#define KMALLOC_CLEANUP_H

#define __cleanup(function) __attribute__((__cleanup__(function)))

#define DEFINE_FREE(_name, _type, _code)                                                           \
	static inline __attribute__((__unused__)) void __free_##_name(void *__variable)            \
	{                                                                                          \
		_type _T = *(_type *)__variable;                                                   \
		_code;                                                                             \
	}

#define __free(_name) __cleanup(__free_##_name)

/* The pointer, which its variable no longer frees. */
#define no_free_ptr(p)                                                                             \
	({                                                                                         \
		__typeof__(p) __pointer = (p);                                                     \
		(p) = NULL;                                                                        \
		__pointer;                                                                         \
	})
#define return_ptr(p) return no_free_ptr(p)
/* The same for a pointer that went elsewhere already. */
#define retain_and_null_ptr(p) ((void)no_free_ptr(p))

#endif
