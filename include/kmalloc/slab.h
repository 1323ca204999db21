/* SPDX-License-Identifier: MIT */
/*
 * slab.h - the kernel's slab calls: kmalloc() and its family, and caches of one's own.
 *
 * The names, arguments and meanings are those of the kernel's linux/slab.h (Linux 7.3);
 * docs/kernel-api.md compares call by call and tells each difference. For C (GNU C11 or later) and
 * C++11. Link with -lkmalloc (pkg-config kmalloc): the program's malloc() is then the
 * library's too, and an object of kmalloc() may go to free(), and one of malloc() to kfree().
 *
 * All calls are valid in any thread. Which of them may wait, make system calls, or be made in a
 * signal handler, gfp.h says by flags. Unless said otherwise NULL is the answer when there is no
 * memory, and errno is left alone.
 */
#ifndef KMALLOC_SLAB_H
#define KMALLOC_SLAB_H

#include <kmalloc/cleanup.h>
#include <kmalloc/gfp.h>
#include <kmalloc/overflow.h>
#include <kmalloc/symbol.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The largest object of kmalloc(). */
#ifndef KMALLOC_MAX_SIZE
#define KMALLOC_MAX_SIZE 131056UL
#endif
/* The smallest, and what every object is aligned to; a power-of-two size is aligned to itself. */
#define KMALLOC_MIN_ALIGN 16UL
#define ARCH_KMALLOC_MINALIGN 16

#define NUMA_NO_NODE (-1)

/* What kmalloc(0) gives: not NULL, not to be followed, and free to be freed. */
#define ZERO_SIZE_PTR ((void *)16)
#define ZERO_OR_NULL_PTR(p) ((unsigned long)(p) <= (unsigned long)ZERO_SIZE_PTR)

/* ---------------------------------------------------------------- kmalloc */

/* Flags for which a hit is not enough. */
#define KMALLOC_SLOW_FLAGS (__GFP_ZERO | __GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM | __GFP_ACCOUNT)

/* What the calls below come to. _plain: for flags without any of KMALLOC_SLOW_FLAGS. */
void *__kmalloc(size_t size, gfp_t gfp) KMALLOC_SYMBOL(kmalloc) KMALLOC_ALLOCATES();
void *__kmalloc_plain(size_t size, gfp_t gfp) KMALLOC_SYMBOL(kmalloc_plain) KMALLOC_ALLOCATES();
void *__kzalloc_plain(size_t size, gfp_t gfp) KMALLOC_SYMBOL(kzalloc_plain) KMALLOC_ALLOCATES();
void *__kmalloc_caller(size_t size, gfp_t gfp, const void *caller) KMALLOC_SYMBOL(kmalloc_caller)
	KMALLOC_ALLOCATES();

/*
 * `size` bytes. 0 gives ZERO_SIZE_PTR. Above KMALLOC_MAX_SIZE: NULL, and one warning per
 * caller unless gfp has __GFP_NOWARN.
 */
static inline KMALLOC_ALLOCATES(__alloc_size__(1)) void *kmalloc(size_t size, gfp_t gfp)
{
	if (__builtin_constant_p(gfp) && !(gfp & KMALLOC_SLOW_FLAGS))
		return __kmalloc_plain(size, gfp);
	return __kmalloc(size, gfp);
}

/* The same, zeroed to the end of the object (ksize()). */
static inline KMALLOC_ALLOCATES(__alloc_size__(1)) void *kzalloc(size_t size, gfp_t gfp)
{
	if (__builtin_constant_p(gfp) && !(gfp & KMALLOC_SLOW_FLAGS))
		return __kzalloc_plain(size, gfp);
	return __kmalloc(size, gfp | __GFP_ZERO);
}

/* `n` elements of `size` bytes; NULL when that does not fit into a size_t. */
static inline KMALLOC_ALLOCATES(__alloc_size__(1, 2)) void *kmalloc_array(size_t n, size_t size,
									  gfp_t gfp)
{
	return kmalloc(size_mul(n, size), gfp);
}

static inline KMALLOC_ALLOCATES(__alloc_size__(1, 2)) void *kcalloc(size_t n, size_t size,
								    gfp_t gfp)
{
	return kzalloc(size_mul(n, size), gfp);
}

/* There is one node here: `node` is not looked at. */
#define kmalloc_node(size, gfp, node) ((void)(node), kmalloc(size, gfp))
#define kzalloc_node(size, gfp, node) ((void)(node), kzalloc(size, gfp))
#define kmalloc_array_node(n, size, gfp, node) ((void)(node), kmalloc_array(n, size, gfp))
#define kcalloc_node(n, size, gfp, node) ((void)(node), kcalloc(n, size, gfp))

/* For a function that allocates on behalf of its caller: reports name that one. */
#define kmalloc_track_caller(size, gfp) __kmalloc_caller(size, gfp, __builtin_return_address(0))
#define kmalloc_node_track_caller(size, gfp, node)                                                 \
	((void)(node), __kmalloc_caller(size, gfp, __builtin_return_address(0)))

/* Free an object, of whatever cache. NULL and ZERO_SIZE_PTR are nothing. Any context. */
void kfree(const void *object) KMALLOC_SYMBOL(kfree);
/* Overwrite it with zeroes first. */
void kfree_sensitive(const void *object) KMALLOC_SYMBOL(kfree_sensitive);
void kfree_bulk(size_t n, void **objects) KMALLOC_SYMBOL(kfree_bulk);

/*
 * Change the size, keeping the bytes up to the smaller one; NULL: the object is as before.
 * krealloc(NULL, n) is kmalloc(n); krealloc(p, 0) frees and gives ZERO_SIZE_PTR. With
 * __GFP_ZERO what lies beyond the old object is zero, if that was allocated so too.
 */
void *krealloc(const void *object, size_t size, gfp_t gfp) KMALLOC_SYMBOL(krealloc)
	__attribute__((__warn_unused_result__, __alloc_size__(2)));
static inline __attribute__((__warn_unused_result__, __alloc_size__(2, 3))) void *
krealloc_array(void *object, size_t n, size_t size, gfp_t gfp)
{
	return krealloc(object, size_mul(n, size), gfp);
}
#define krealloc_node(object, size, gfp, node) ((void)(node), krealloc(object, size, gfp))
/* The result is aligned to `align`, a power of two; it moves if the object is not. */
void *krealloc_node_align(const void *object, size_t size, unsigned long align, gfp_t gfp, int node)
	KMALLOC_SYMBOL(krealloc_node_align) __attribute__((__warn_unused_result__));

/* Bytes of an object that may be used, constant for its life; 0 for NULL and ZERO_SIZE_PTR. */
size_t ksize(const void *object) KMALLOC_SYMBOL(ksize);
/* ksize() of what kmalloc(size) would give. */
size_t kmalloc_size_roundup(size_t size) KMALLOC_SYMBOL(kmalloc_size_roundup);

/* The allocator is always there: the first call starts it. */
static inline bool slab_is_available(void)
{
	return true;
}

/* ------------------------------------------------------------ by the type */

/* Each takes gfp, or GFP_KERNEL, which the macros below put behind what they were given. */
#define KMALLOC_OBJ(call, type, gfp, ...) ((__typeof__(type) *)call(sizeof(type), gfp))
#define KMALLOC_OBJS(call, type, n, gfp, ...)                                                      \
	((__typeof__(type) *)call(size_mul(sizeof(type), n), gfp))
#define KMALLOC_FLEX(call, type, member, n, gfp, ...)                                              \
	((__typeof__(type) *)call(struct_size((__typeof__(type) *)NULL, member, n), gfp))

/*
 * One object of a type, or of a variable's; n of them; one with a flexible array member of n:
 *	kmalloc_obj(type [, gfp])   kmalloc_objs(type, n [, gfp])   kmalloc_flex(type, member, n [, gfp])
 * Without gfp: GFP_KERNEL.
 */
#define kmalloc_obj(...) KMALLOC_OBJ(kmalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kzalloc_obj(...) KMALLOC_OBJ(kzalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kvmalloc_obj(...) KMALLOC_OBJ(kvmalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kvzalloc_obj(...) KMALLOC_OBJ(kvzalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kmalloc_objs(...) KMALLOC_OBJS(kmalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kzalloc_objs(...) KMALLOC_OBJS(kzalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kvmalloc_objs(...) KMALLOC_OBJS(kvmalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kvzalloc_objs(...) KMALLOC_OBJS(kvzalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kmalloc_flex(...) KMALLOC_FLEX(kmalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kzalloc_flex(...) KMALLOC_FLEX(kzalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kvmalloc_flex(...) KMALLOC_FLEX(kvmalloc, __VA_ARGS__, GFP_KERNEL, 0)
#define kvzalloc_flex(...) KMALLOC_FLEX(kvzalloc, __VA_ARGS__, GFP_KERNEL, 0)

/* ------------------------------------------------------ strings and copies */

/* A copy of a string; of at most `max` bytes of it; NULL for NULL. */
char *kstrdup(const char *text, gfp_t gfp) KMALLOC_SYMBOL(kstrdup) KMALLOC_ALLOCATES();
char *kstrndup(const char *text, size_t max, gfp_t gfp) KMALLOC_SYMBOL(kstrndup)
	KMALLOC_ALLOCATES();
/* The string itself if it can't change (read-only data of the program or a library), else a copy. */
const char *kstrdup_const(const char *text, gfp_t gfp) KMALLOC_SYMBOL(kstrdup_const);
void kfree_const(const void *text) KMALLOC_SYMBOL(kfree_const);
/* A copy of `size` bytes; the same with a NUL behind it. */
void *kmemdup(const void *source, size_t size, gfp_t gfp) KMALLOC_SYMBOL(kmemdup)
	KMALLOC_ALLOCATES(__alloc_size__(2));
void *kmemdup_array(const void *source, size_t n, size_t size, gfp_t gfp)
	KMALLOC_SYMBOL(kmemdup_array) KMALLOC_ALLOCATES(__alloc_size__(2, 3));
char *kmemdup_nul(const char *source, size_t size, gfp_t gfp) KMALLOC_SYMBOL(kmemdup_nul)
	KMALLOC_ALLOCATES();
/* As printf() of the C library would print it; the kernel's own %p extensions are unknown. */
char *kasprintf(gfp_t gfp, const char *format, ...) KMALLOC_SYMBOL(kasprintf)
	KMALLOC_ALLOCATES(__format__(__printf__, 2, 3));
char *kvasprintf(gfp_t gfp, const char *format, va_list args) KMALLOC_SYMBOL(kvasprintf)
	KMALLOC_ALLOCATES(__format__(__printf__, 2, 0));

/* ---------------------------------------------------------- kvmalloc family */

/*
 * Memory of any size up to INT_MAX: an object of kmalloc() up to KMALLOC_MAX_SIZE, an area of
 * vmalloc() above it, or when there is no object. May sleep if gfp lets it.
 */
void *kvmalloc(size_t size, gfp_t gfp) KMALLOC_SYMBOL(kvmalloc)
	KMALLOC_ALLOCATES(__alloc_size__(1));
static inline KMALLOC_ALLOCATES(__alloc_size__(1)) void *kvzalloc(size_t size, gfp_t gfp)
{
	return kvmalloc(size, gfp | __GFP_ZERO);
}
static inline KMALLOC_ALLOCATES(__alloc_size__(1, 2)) void *kvmalloc_array(size_t n, size_t size,
									   gfp_t gfp)
{
	return kvmalloc(size_mul(n, size), gfp);
}
static inline KMALLOC_ALLOCATES(__alloc_size__(1, 2)) void *kvcalloc(size_t n, size_t size,
								     gfp_t gfp)
{
	return kvmalloc(size_mul(n, size), gfp | __GFP_ZERO);
}
#define kvmalloc_node(size, gfp, node) ((void)(node), kvmalloc(size, gfp))
#define kvzalloc_node(size, gfp, node) ((void)(node), kvzalloc(size, gfp))
#define kvmalloc_array_node(n, size, gfp, node) ((void)(node), kvmalloc_array(n, size, gfp))
#define kvcalloc_node(n, size, gfp, node) ((void)(node), kvcalloc(n, size, gfp))

/* As krealloc(), over both kinds. */
void *kvrealloc(const void *memory, size_t size, gfp_t gfp) KMALLOC_SYMBOL(kvrealloc)
	__attribute__((__warn_unused_result__, __alloc_size__(2)));
#define kvrealloc_node(memory, size, gfp, node) ((void)(node), kvrealloc(memory, size, gfp))
void *kvmemdup(const void *source, size_t size, gfp_t gfp) KMALLOC_SYMBOL(kvmemdup)
	KMALLOC_ALLOCATES(__alloc_size__(2));

/* Free what any call of this header, or vmalloc(), gave. */
void kvfree(const void *memory) KMALLOC_SYMBOL(kvfree);
/* Overwrite `size` bytes of it first. */
void kvfree_sensitive(const void *memory, size_t size) KMALLOC_SYMBOL(kvfree_sensitive);
/* Free it where waiting is not allowed, and without a system call: what would need either is put off. */
void kvfree_atomic(const void *memory) KMALLOC_SYMBOL(kvfree_atomic);

/* ---------------------------------------------------------------- caches */

typedef unsigned int slab_flags_t;

/* clang-format off */
/* Accepted, and today without effect: see docs/kernel-api.md. */
#define SLAB_CONSISTENCY_CHECKS	((slab_flags_t)0x00000001U) /* objects are always checked when they reach their slab */
#define SLAB_RED_ZONE		((slab_flags_t)0x00000002U)
#define SLAB_POISON		((slab_flags_t)0x00000004U)
#define SLAB_STORE_USER		((slab_flags_t)0x00000008U)
#define SLAB_TRACE		((slab_flags_t)0x00000010U)
#define SLAB_FAILSLAB		((slab_flags_t)0x00000020U)
#define SLAB_NOLEAKTRACE	((slab_flags_t)0x00000040U)
#define SLAB_SKIP_KFENCE	((slab_flags_t)0x00000080U)
#define SLAB_RECLAIM_ACCOUNT	((slab_flags_t)0x00000100U)
#define SLAB_TEMPORARY		SLAB_RECLAIM_ACCOUNT
#define SLAB_NO_USER_FLAGS	((slab_flags_t)0x00000200U)
#define SLAB_NO_MERGE		((slab_flags_t)0x00000400U) /* no cache is ever merged with another */
/* With effect. */
#define SLAB_HWCACHE_ALIGN	((slab_flags_t)0x00001000U) /* aligned so that small objects do not straddle cache lines */
#define SLAB_CACHE_DMA		((slab_flags_t)0x00002000U) /* slabs from the DMA zone */
#define SLAB_PANIC		((slab_flags_t)0x00004000U) /* die if the cache can't be created */
#define SLAB_ACCOUNT		((slab_flags_t)0x00008000U) /* objects are counted to the caller's group */
/*
 * The memory of a freed object stays an object of this cache, for ever: a late reader sees an
 * object, maybe another one. The kernel promises it for a grace period.
 */
#define SLAB_TYPESAFE_BY_RCU	((slab_flags_t)0x00010000U)
#define SLAB_NO_SHEAVES		((slab_flags_t)0x00020000U) /* no sheaves: each call goes to the slabs */
/* clang-format on */

struct kmem_cache; /* opaque */

/* What kmem_cache_create() may be told beyond name, size and flags; 0 and NULL are the defaults. */
struct kmem_cache_args {
	unsigned int align; /* a power of two, up to 32768 */
	unsigned int
		useroffset; /* with usersize: what may be copied to user space. Not looked at */
	unsigned int usersize;
	unsigned int freeptr_offset; /* free objects hold no pointer here. Not looked at */
	bool use_freeptr_offset;
	/*
	 * Called for each object when its slab is made, before it is ever handed out. Freed objects
	 * must be given back in that state, which is kept.
	 */
	void (*ctor)(void *object);
	unsigned int sheaf_capacity; /* at least so many objects ready on each CPU, up to 124 */
};

struct kmem_cache *__kmem_cache_create_args(const char *name, unsigned int object_size,
					    struct kmem_cache_args *args, slab_flags_t flags)
	KMALLOC_SYMBOL(kmem_cache_create_args);

/* The older form: align, flags, constructor. */
static inline struct kmem_cache *__kmem_cache_create(const char *name, unsigned int object_size,
						     unsigned int align, slab_flags_t flags,
						     void (*ctor)(void *object))
{
	struct kmem_cache_args args = { 0, 0, 0, 0, false, NULL, 0 };

	args.align = align;
	args.ctor = ctor;
	return __kmem_cache_create_args(name, object_size, &args, flags);
}

static inline struct kmem_cache *__kmem_cache_create_default(const char *name,
							     unsigned int object_size, void *args,
							     slab_flags_t flags)
{
	return __kmem_cache_create_args(name, object_size, (struct kmem_cache_args *)args, flags);
}

static inline struct kmem_cache *kmem_cache_create_usercopy(
	const char *name, unsigned int object_size, unsigned int align, slab_flags_t flags,
	unsigned int useroffset, unsigned int usersize, void (*ctor)(void *object))
{
	(void)useroffset;
	(void)usersize;
	return __kmem_cache_create(name, object_size, align, flags, ctor);
}

/*
 * Create a cache of objects of `object_size` bytes, 1 to KMALLOC_MAX_SIZE:
 *	kmem_cache_create(name, object_size, args, flags)		args: NULL is allowed
 *	kmem_cache_create(name, object_size, align, flags, ctor)
 * The name is copied. May block. NULL: no memory, or arguments that make no sense (reported); with
 * SLAB_PANIC the process dies instead.
 */
#ifndef __cplusplus
#define kmem_cache_create(name, object_size, args, ...)                                            \
	_Generic((args),                                                                           \
		struct kmem_cache_args *: __kmem_cache_create_args,                                \
		void *: __kmem_cache_create_default,                                               \
		default: __kmem_cache_create)(name, object_size, args, __VA_ARGS__)
#endif

/* A cache for a struct, named after it. */
#define KMEM_CACHE(type, flags)                                                                    \
	__kmem_cache_create(#type, sizeof(struct type), __alignof__(struct type), flags, NULL)
#define KMEM_CACHE_USERCOPY(type, flags, member) KMEM_CACHE(type, flags)

/*
 * Give the cache up; nobody may use it any more. May block. If objects are left, they are
 * reported and the cache stays, so that they can still be freed. NULL is nothing.
 */
void kmem_cache_destroy(struct kmem_cache *cache) KMALLOC_SYMBOL(kmem_cache_destroy);
/*
 * Return what is free in it to the system's pages, from all CPUs. May block; in an atomic scope nothing is done. 0: no
 * slab is left; else 1.
 */
int kmem_cache_shrink(struct kmem_cache *cache) KMALLOC_SYMBOL(kmem_cache_shrink);
/* Bytes of an object. */
unsigned int kmem_cache_size(struct kmem_cache *cache) KMALLOC_SYMBOL(kmem_cache_size);

void *__kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp) KMALLOC_SYMBOL(kmem_cache_alloc)
	KMALLOC_ALLOCATES();
void *__kmem_cache_alloc_plain(struct kmem_cache *cache, gfp_t gfp)
	KMALLOC_SYMBOL(kmem_cache_alloc_plain) KMALLOC_ALLOCATES();

/* An object. With __GFP_ZERO, which goes with no constructor, it is zero. */
static inline KMALLOC_ALLOCATES() void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	if (__builtin_constant_p(gfp) && !(gfp & KMALLOC_SLOW_FLAGS))
		return __kmem_cache_alloc_plain(cache, gfp);
	return __kmem_cache_alloc(cache, gfp);
}

static inline KMALLOC_ALLOCATES() void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp)
{
	return __kmem_cache_alloc(cache, gfp | __GFP_ZERO);
}
#define kmem_cache_alloc_node(cache, gfp, node) ((void)(node), kmem_cache_alloc(cache, gfp))
#define kmem_cache_alloc_lru(cache, lru, gfp) ((void)(lru), kmem_cache_alloc(cache, gfp))

/* Free an object of this cache. One of another is reported and not freed. Any context. */
void kmem_cache_free(struct kmem_cache *cache, void *object) KMALLOC_SYMBOL(kmem_cache_free);

/* All or none of n objects; false: none. */
bool kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t n, void **objects)
	KMALLOC_SYMBOL(kmem_cache_alloc_bulk);
/* cache NULL: objects of kmalloc(), of any size. */
void kmem_cache_free_bulk(struct kmem_cache *cache, size_t n, void **objects)
	KMALLOC_SYMBOL(kmem_cache_free_bulk);

/*
 * A sheaf: so many objects set aside beforehand that taking them cannot fail. It belongs to
 * the caller, who keeps others from using it at the same time.
 */
struct slab_sheaf;

/* A sheaf of at least `n` objects. NULL: no memory. */
struct slab_sheaf *kmem_cache_prefill_sheaf(struct kmem_cache *cache, gfp_t gfp, unsigned int n)
	KMALLOC_SYMBOL(kmem_cache_prefill_sheaf);
/* Fill it up to n again, maybe by another sheaf. 0; -ENOMEM: it is as it was; -EINVAL: no sheaf. */
int kmem_cache_refill_sheaf(struct kmem_cache *cache, gfp_t gfp, struct slab_sheaf **sheaf,
			    unsigned int n) KMALLOC_SYMBOL(kmem_cache_refill_sheaf);
/* Give it back, and what is left in it. */
void kmem_cache_return_sheaf(struct kmem_cache *cache, gfp_t gfp, struct slab_sheaf *sheaf)
	KMALLOC_SYMBOL(kmem_cache_return_sheaf);
/* An object out of it; NULL when it is empty. Of gfp only __GFP_ZERO counts. */
void *kmem_cache_alloc_from_sheaf(struct kmem_cache *cache, gfp_t gfp, struct slab_sheaf *sheaf)
	KMALLOC_SYMBOL(kmem_cache_alloc_from_sheaf) KMALLOC_ALLOCATES();
/* Objects in it. */
unsigned int kmem_cache_sheaf_size(struct slab_sheaf *sheaf) KMALLOC_SYMBOL(kmem_cache_sheaf_size);

DEFINE_FREE(kfree, void *, kfree(_T))
DEFINE_FREE(kfree_sensitive, void *, kfree_sensitive(_T))
DEFINE_FREE(kvfree, void *, kvfree(_T))

#ifdef __cplusplus
}

static inline struct kmem_cache *kmem_cache_create(const char *name, unsigned int object_size,
						   struct kmem_cache_args *args, slab_flags_t flags)
{
	return __kmem_cache_create_args(name, object_size, args, flags);
}

static inline struct kmem_cache *kmem_cache_create(const char *name, unsigned int object_size,
						   unsigned int align, slab_flags_t flags,
						   void (*ctor)(void *object))
{
	return __kmem_cache_create(name, object_size, align, flags, ctor);
}
#endif

#endif
