/* SPDX-License-Identifier: MIT */
/*
 * A list of objects as a driver keeps one: requests of a cache of their own, with a copied name,
 * worked off in order. Written as for the kernel; nothing in it knows that this is a process.
 */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "kernel.h"

struct request {
	struct list_head node;
	const char *name;
	u32 priority;
	u8 payload[];
};

static LIST_HEAD(pending);
static struct kmem_cache *request_cache;
static size_t payload_bytes;

int request_init(size_t bytes)
{
	struct kmem_cache_args args = {
		.align = 64,
		.usersize = 0,
	};

	payload_bytes = bytes;
	request_cache = kmem_cache_create("request", struct_size_t(struct request, payload, bytes),
					  &args, SLAB_HWCACHE_ALIGN | SLAB_RECLAIM_ACCOUNT);
	return request_cache ? 0 : -ENOMEM;
}

int request_add(const char *name, u32 priority, const void *payload)
{
	struct request *request = kmem_cache_zalloc(request_cache, GFP_KERNEL);
	struct request *other;

	if (!request)
		return -ENOMEM;
	request->name = kstrdup_const(name, GFP_KERNEL);
	if (!request->name) {
		kmem_cache_free(request_cache, request);
		return -ENOMEM;
	}
	request->priority = priority;
	memcpy(request->payload, payload, payload_bytes);
	list_for_each_entry(other, &pending, node) {
		if (other->priority < priority) {
			list_add_tail(&request->node, &other->node);
			return 0;
		}
	}
	list_add_tail(&request->node, &pending);
	return 0;
}

static void request_free(struct request *request)
{
	list_del(&request->node);
	kfree_const(request->name);
	kmem_cache_free(request_cache, request);
}

/* The most urgent one's name, copied, and its payload; ERR_PTR when there is none. */
char *request_take(void *payload)
{
	struct request *request = list_first_entry_or_null(&pending, struct request, node);
	char *name __free(kfree) = NULL;

	if (!request)
		return ERR_PTR(-ENOENT);
	name = kasprintf(GFP_KERNEL, "%s:%u", request->name, request->priority);
	if (!name)
		return ERR_PTR(-ENOMEM);
	memcpy(payload, request->payload, payload_bytes);
	request_free(request);
	return_ptr(name);
}

void request_exit(void)
{
	struct request *request, *next;

	list_for_each_entry_safe(request, next, &pending, node)
		request_free(request);
	kmem_cache_destroy(request_cache);
}

EXPORT_SYMBOL_GPL(request_take);
MODULE_LICENSE("Dual MIT/GPL");
