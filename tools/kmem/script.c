/* SPDX-License-Identifier: MIT */
/*
 * script.c - `kmem script`: a recording's events, a line each, as `perf script` prints the kernel's. With --json each line is an
 * object with the same names.
 */
#include "commands.h"
#include "json.h"
#include "say.h"
#include "view.h"

#include "lib/gfp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static void print_event(struct view *view, const struct event *event)
{
	uint64_t ns = recording_ns(view->reader, event->when);
	const struct cache_name *cache = recording_cache(view->reader, event->cache);
	char site[512], gfp[256];

	printf("%8u [%03u] %6lu.%09lu: kmem:%s: ", event->tid, event->cpu, ns / 1000000000,
	       ns % 1000000000, event_name(event->type));
	symbols_text(view->symbols, event->site, site, sizeof(site));
	switch (event->type) {
	case TRACE_KMALLOC:
	case TRACE_VMALLOC:
		printf("call_site=%s ptr=0x%lx bytes_req=%lu bytes_alloc=%lu gfp_flags=%s node=-1 "
		       "accounted=%s\n",
		       site, event->ptr, event->req, model_alloc_bytes(view->reader, event),
		       gfp_text(event->gfp, gfp), accounted(event));
		break;
	case TRACE_KMEM_CACHE_ALLOC:
		printf("call_site=%s ptr=0x%lx name=%s bytes_req=%lu bytes_alloc=%lu gfp_flags=%s "
		       "node=-1 accounted=%s\n",
		       site, event->ptr, cache ? cache->name : "?", event->req,
		       model_alloc_bytes(view->reader, event), gfp_text(event->gfp, gfp),
		       accounted(event));
		break;
	case TRACE_KMEM_CACHE_FREE:
		printf("call_site=%s ptr=0x%lx name=%s\n", site, event->ptr,
		       cache ? cache->name : "?");
		break;
	case TRACE_MM_PAGE_ALLOC:
		printf("page=0x%lx order=%d gfp_flags=%s\n", event->ptr, page_order(event->req),
		       gfp_text(event->gfp, gfp));
		break;
	case TRACE_MM_PAGE_FREE:
		printf("page=0x%lx order=%d\n", event->ptr, page_order(event->req));
		break;
	case TRACE_SLAB_REFILL:
	case TRACE_SLAB_FLUSH:
		printf("name=%s count=%lu\n", cache ? cache->name : "?", event->req);
		break;
	default:
		printf("call_site=%s ptr=0x%lx\n", site, event->ptr);
		break;
	}
}

static void print_json(struct view *view, const struct event *event)
{
	struct json_object *object = json_object_new_object();
	const struct cache_name *cache = recording_cache(view->reader, event->cache);
	char text[512];

	json_add(object, "tid", event->tid);
	json_add(object, "cpu", event->cpu);
	json_add(object, "ns", (double)recording_ns(view->reader, event->when));
	json_add_text(object, "event", event_name(event->type));
	json_add_text(object, "call_site",
		      symbols_text(view->symbols, event->site, text, sizeof(text)));
	snprintf(text, sizeof(text), "0x%lx", event->ptr);
	json_add_text(object, "ptr", text);
	if (event_is_alloc(event)) {
		json_add(object, "bytes_req", (double)event->req);
		json_add(object, "bytes_alloc", (double)model_alloc_bytes(view->reader, event));
		json_add_text(object, "gfp_flags", gfp_text(event->gfp, text));
	}
	if (cache)
		json_add_text(object, "name", cache->name);
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
	json_object_put(object);
}

static bool is_wanted(const struct model_filter *filter, const struct event *event, uint64_t ns)
{
	return ns >= filter->from_ns && (!filter->to_ns || ns < filter->to_ns) &&
	       (!filter->tid || event->tid == filter->tid) &&
	       (event_is_free(event) || (event->req >= filter->min_bytes &&
					 (!filter->max_bytes || event->req <= filter->max_bytes)));
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key == ARGP_KEY_INIT)
		state->child_inputs[0] = state->input;
	return key == ARGP_KEY_INIT ? 0 : ARGP_ERR_UNKNOWN;
}

int command_script(int argc, char **argv)
{
	static const struct argp_child children[] = { { &view_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = { NULL,	    parse,
					  "[FILE]", "Print a recording's events, a line each.",
					  children, NULL,
					  NULL };
	struct view view = { 0 };
	struct event event;

	argp_parse(&argp, argc, argv, 0, NULL, &view);
	/* twice: the maps and names of caches that hold are behind the events */
	if (!view_load(&view))
		return 1;
	recording_reader_close(view.reader);
	view.reader = recording_open(view.path ? view.path : RECORDING_DEFAULT);
	if (!view.reader)
		return 1;
	while (recording_next(view.reader, &event)) {
		struct site site = { .address = event.site };

		if (is_wanted(&view.filter, &event, recording_ns(view.reader, event.when)) &&
		    view_wants_site(&view, &site)) {
			if (view.json)
				print_json(&view, &event);
			else
				print_event(&view, &event);
		}
		if (ferror(stdout))
			return errno == EPIPE ? 0 : 1;
	}
	view_notes(&view);
	view_free(&view);
	return 0;
}
