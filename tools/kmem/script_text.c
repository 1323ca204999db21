/* SPDX-License-Identifier: MIT */
/*
 * script_text.c - what a line of `kmem script` says of an event beside when and where it was, and its address.
 *
 * That is the same for all events of a kind, so it is made once, with its symbols, and kept: a line costs two copies then. Two kinds that
 * want the same place in the table take turns.
 */
#include "script_text.h"

#include "json.h"
#include "say.h"

#include "lib/gfp.h"

#include <stdlib.h>
#include <string.h>

#define TEXTS 65536U
#define TEXT_BYTES SCRIPT_TEXT_BYTES

static const struct {
	uint32_t gfp;
	const char *name;
} combinations[] = {
	{ GFP_KERNEL_ACCOUNT, "GFP_KERNEL_ACCOUNT" },
	{ GFP_KERNEL, "GFP_KERNEL" },
	{ GFP_NOFS, "GFP_NOFS" },
	{ GFP_ATOMIC, "GFP_ATOMIC" },
	{ GFP_NOIO, "GFP_NOIO" },
	{ GFP_NOWAIT, "GFP_NOWAIT" },
	{ __GFP_DMA, "GFP_DMA" },
	{ __GFP_ZERO, "__GFP_ZERO" },
	{ __GFP_NOWARN, "__GFP_NOWARN" },
	{ __GFP_NOFAIL, "__GFP_NOFAIL" },
	{ __GFP_NORETRY, "__GFP_NORETRY" },
	{ __GFP_RETRY_MAYFAIL, "__GFP_RETRY_MAYFAIL" },
	{ __GFP_ACCOUNT, "__GFP_ACCOUNT" },
	{ __GFP_HIGH, "__GFP_HIGH" },
	{ __GFP_MEMALLOC, "__GFP_MEMALLOC" },
	{ __GFP_NOMEMALLOC, "__GFP_NOMEMALLOC" },
};

/* As the kernel's show_gfp_flags(): the longest combination first, what is left in hex. */
static const char *gfp_text(uint32_t gfp, char buf[256])
{
	size_t at = 0;

	if (!gfp)
		return "none";
	if (gfp == TRACE_GFP_NONE)
		return "?"; /* more kinds than there was room for */
	buf[0] = 0;
	for (size_t i = 0; i < sizeof(combinations) / sizeof(*combinations); i++) {
		if ((gfp & combinations[i].gfp) != combinations[i].gfp)
			continue;
		at += (size_t)snprintf(buf + at, 256 - at, "%s%s", at ? "|" : "",
				       combinations[i].name);
		gfp &= ~combinations[i].gfp;
	}
	if (gfp)
		snprintf(buf + at, 256 - at, "%s0x%x", at ? "|" : "", gfp);
	return buf;
}

/* In pages of 4 KiB, of which a block has a power of two. */
static int page_order(uint64_t bytes)
{
	return bytes >> 12 ? 63 - __builtin_clzl(bytes >> 12) : 0;
}

static const char *accounted(const struct event *event)
{
	return event->gfp != TRACE_GFP_NONE && event->gfp & __GFP_ACCOUNT ? "true" : "false";
}

/* What stands before the address, and what behind it. */
static void plain_text(struct view *view, const struct event *event, char *before, char *after)
{
	const struct cache_name *cache = recording_cache(view->reader, event->cache);
	const char *name = cache ? cache->name : "?";
	char site[512], gfp[256];

	symbols_text(view->symbols, event->site, site, sizeof(site));
	gfp_text(event->gfp, gfp);
	switch (event->type) {
	case TRACE_KMALLOC:
	case TRACE_VMALLOC:
	case TRACE_KMEM_CACHE_ALLOC:
		snprintf(before, TEXT_BYTES, "kmem:%s: call_site=%s ptr=0x",
			 event_name(event->type), site);
		snprintf(after, TEXT_BYTES,
			 "%s%s bytes_req=%lu bytes_alloc=%lu gfp_flags=%s node=-1 accounted=%s\n",
			 event->type == TRACE_KMEM_CACHE_ALLOC ? " name=" : "",
			 event->type == TRACE_KMEM_CACHE_ALLOC ? name : "", event->req,
			 model_alloc_bytes(view->reader, event), gfp_text(event->gfp, gfp),
			 accounted(event));
		break;
	case TRACE_MM_PAGE_ALLOC:
		snprintf(before, TEXT_BYTES, "kmem:%s: page=0x", event_name(event->type));
		snprintf(after, TEXT_BYTES, " order=%d gfp_flags=%s\n", page_order(event->req),
			 gfp_text(event->gfp, gfp));
		break;
	case TRACE_MM_PAGE_FREE:
		snprintf(before, TEXT_BYTES, "kmem:%s: page=0x", event_name(event->type));
		snprintf(after, TEXT_BYTES, " order=%d\n", page_order(event->req));
		break;
	case TRACE_SLAB_REFILL:
	case TRACE_SLAB_FLUSH:
		snprintf(before, TEXT_BYTES, "kmem:%s: name=%s count=%lu\n",
			 event_name(event->type), name, event->req);
		*after = 0;
		break;
	default:
		snprintf(before, TEXT_BYTES, "kmem:%s: call_site=%s ptr=0x",
			 event_name(event->type), site);
		snprintf(after, TEXT_BYTES, "%s%s\n",
			 event->type == TRACE_KMEM_CACHE_FREE ? " name=" : "",
			 event->type == TRACE_KMEM_CACHE_FREE ? name : "");
		break;
	}
}

/* Its members, without the braces; frees it. */
static void members(struct json_object *object, char *buf)
{
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	size_t length = strlen(text);

	snprintf(buf, TEXT_BYTES, "%.*s", (int)length - 2, text + 1);
	json_object_put(object);
}

static void json_text(struct view *view, const struct event *event, char *before, char *after)
{
	const struct cache_name *cache = recording_cache(view->reader, event->cache);
	struct json_object *first = json_object_new_object(), *last = json_object_new_object();
	char text[512], piece[TEXT_BYTES];

	json_add_text(first, "event", event_name(event->type));
	json_add_text(first, "call_site",
		      symbols_text(view->symbols, event->site, text, sizeof(text)));
	members(first, piece);
	snprintf(before, TEXT_BYTES, "%.*s,\"ptr\":\"0x", (int)TEXT_BYTES - 32, piece);
	if (event_is_alloc(event)) {
		json_add(last, "bytes_req", (double)event->req);
		json_add(last, "bytes_alloc", (double)model_alloc_bytes(view->reader, event));
		json_add_text(last, "gfp_flags", gfp_text(event->gfp, text));
	}
	if (cache)
		json_add_text(last, "name", cache->name);
	members(last, piece);
	snprintf(after, TEXT_BYTES, "\"%s%.*s}\n", *piece ? "," : "", (int)TEXT_BYTES - 32, piece);
}

static bool is_of(const struct script_text *text, const struct event *event,
		  const struct cache_name *cache)
{
	return text->before && text->site == event->site && text->req == event->req &&
	       text->gfp == event->gfp && text->cache_id == event->cache &&
	       text->type == event->type && !memcmp(&text->cache, cache, sizeof(*cache));
}

static void make(struct script_text *text, struct view *view, const struct event *event,
		 const struct cache_name *cache)
{
	struct site site = { .address = event->site };
	char before[TEXT_BYTES], after[TEXT_BYTES];

	free(text->before);
	free(text->after);
	*text = (struct script_text){ .site = event->site,
				      .req = event->req,
				      .gfp = event->gfp,
				      .cache_id = event->cache,
				      .type = event->type,
				      .cache = *cache };
	text->wanted = view_wants_site(view, &site);
	if (view->json)
		json_text(view, event, before, after);
	else
		plain_text(view, event, before, after);
	text->before = xstrdup(before);
	text->after = xstrdup(after);
	text->before_bytes = strlen(before);
	text->after_bytes = strlen(after);
}

const struct script_text *script_text(struct view *view, const struct event *event)
{
	static const struct cache_name none;
	static struct script_text *texts;
	const struct cache_name *cache = recording_cache(view->reader, event->cache);
	uint64_t hash = (event->site ^ event->req << 44 ^ (uint64_t)event->cache << 24 ^
			 (uint64_t)event->type << 60 ^ event->gfp) *
			0x9e3779b97f4a7c15UL;
	struct script_text *text;

	if (!texts)
		texts = xcalloc(TEXTS, sizeof(*texts));
	text = &texts[(hash ^ hash >> 32) >> 16 & (TEXTS - 1)];
	if (!is_of(text, event, cache ? cache : &none))
		make(text, view, event, cache ? cache : &none);
	return text;
}
