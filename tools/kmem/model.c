/* SPDX-License-Identifier: MIT */
/*
 * model.c - play a recording through.
 *
 * Live objects are in live.c. An allocation at an address that is live means that a free was lost: it is taken as freed
 * then. Each look at them is a miss of the CPU's caches, so the memory of events that come soon is asked for ahead.
 *
 * Time stamps of two CPUs tell what was first to some hundred nanoseconds: a processor may read its counter before it has the address that
 * the event is about. So the free of an object that one thread hands to another may stand before its allocation, and the allocation
 * of what another thread has just freed before that. The first is a free of nothing, the second an allocation where one lives; both are
 * remembered for HASTY_NS, and if what was missing comes then, from another thread, they are taken in the other order.
 *
 * Peak: of each site is kept what was live when all together were at their highest. Nobody walks the sites at each new
 * peak: peaks are numbered, and a site that is about to change notes first what it has as its share of the last
 * peak, if it has not since that peak came.
 *
 * Points of the curve: as many as there is room for, at even distances; when the room is used up every other one goes and
 * the distance doubles.
 */
#include "model.h"

#include "hash.h"
#include "progress.h"
#include "say.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096UL
#define FIRST_DISTANCE_NS 1000UL
#define HASTY_NS 1000UL
#define MEAN_MAX 1e15 /* bytes from sample to sample; more stands in a damaged file only */

uint64_t model_alloc_bytes(const struct reader *reader, const struct event *event)
{
	const struct cache_name *cache = event->cache ? recording_cache(reader, event->cache) :
							NULL;

	if (cache)
		return cache->size;
	return event->type == TRACE_VMALLOC ? (event->req + PAGE - 1) & ~(PAGE - 1) : event->req;
}

static uint64_t hash_of_site(uint64_t address, uint32_t stack)
{
	uint64_t hash = hash_of_both(address, stack);

	return hash ^ hash >> 32;
}

static void grow_site_hash(struct model *model)
{
	free(model->site_hash);
	model->site_hash_room = model->site_hash_room ? model->site_hash_room * 2 : 1024;
	model->site_hash = xcalloc(model->site_hash_room, sizeof(*model->site_hash));
	for (size_t i = 0; i < model->nr_sites; i++) {
		size_t at = hash_of_site(model->site[i].address, model->site[i].stack) &
			    (model->site_hash_room - 1);

		while (model->site_hash[at])
			at = (at + 1) & (model->site_hash_room - 1);
		model->site_hash[at] = (uint32_t)i + 1;
	}
}

static uint32_t site_number(struct model *model, const struct event *event)
{
	uint32_t stack = model->by_stack ? event->stack : 0;
	size_t at;

	if (model->nr_sites * 2 >= model->site_hash_room)
		grow_site_hash(model);
	at = hash_of_site(event->site, stack) & (model->site_hash_room - 1);
	while (model->site_hash[at]) {
		uint32_t number = model->site_hash[at] - 1;

		if (model->site[number].address == event->site &&
		    model->site[number].stack == stack)
			return number;
		at = (at + 1) & (model->site_hash_room - 1);
	}
	if (model->nr_sites == model->site_room) {
		model->site_room = model->site_room * 2 + 256;
		model->site = xrealloc(model->site, model->site_room * sizeof(*model->site));
	}
	model->site_hash[at] = (uint32_t)model->nr_sites + 1;
	model->site[model->nr_sites] =
		(struct site){ .address = event->site, .stack = stack, .type = event->type };
	return (uint32_t)model->nr_sites++;
}

static void note_peak_share(struct site *site, uint64_t peak_number)
{
	if (site->peak_seen == peak_number)
		return;
	site->peak_seen = peak_number;
	site->sum.peak_bytes = site->sum.live_bytes;
	site->sum.peak_objects = site->sum.live_objects;
}

/* How many objects a sampled one stands for: it was chosen by the bytes that it takes, or, long ago, by those asked for. */
static double weight_of(const struct model *model, uint64_t req, uint64_t taken)
{
	uint64_t bytes = model->by_req ? req : taken;

	if (!model->sampled)
		return 1;
	return 1 / -expm1(-(bytes ? (double)bytes : 1) / model->mean);
}

double model_weight(const struct model *model, const struct live *live)
{
	return weight_of(model, live->req, live->bytes);
}

static unsigned logarithm(uint64_t n, unsigned max)
{
	unsigned log = n ? 63U - (unsigned)__builtin_clzl(n) : 0;

	return log < max ? log : max - 1;
}

static void add_live(struct tally *sum, double objects, double bytes)
{
	sum->live_objects += objects;
	sum->live_bytes += bytes;
}

/* Farther apart, by time: where events come in bursts, every second one would leave the first seconds with hardly any. */
static void thin_points(struct model *model)
{
	while (model->nr_points == MODEL_POINTS) {
		size_t kept = 1;

		model->points_every *= 2;
		for (size_t i = 1; i < MODEL_POINTS; i++)
			if (model->point[i].ns >= model->point[kept - 1].ns + model->points_every)
				model->point[kept++] = model->point[i];
		model->nr_points = kept;
	}
}

static void note_point(struct model *model, uint64_t ns)
{
	if (ns < model->point_ns)
		return;
	thin_points(model);
	model->point[model->nr_points++] = (struct point){ ns, fmax(model->sum.live_bytes, 0),
							   fmax(model->sum.live_objects, 0) };
	model->point_ns = ns + model->points_every;
}

static struct hasty *hasty_of(struct model *model, uint64_t ptr)
{
	return &model->hasty[hash_of(ptr) >> 56 & (MODEL_HASTY - 1)];
}

static void note_hasty(struct model *model, const struct event *event, uint64_t ns)
{
	*hasty_of(model, event->ptr) = (struct hasty){ *event, ns };
	model->hasty_ns = ns;
}

/* Was there an event before this one that belongs behind it? It is taken out. */
static bool take_hasty(struct model *model, const struct event *event, uint64_t ns,
		       struct event *found)
{
	struct hasty *hasty = hasty_of(model, event->ptr);

	/* as nearly always: there was none of late */
	if (ns - model->hasty_ns > HASTY_NS)
		return false;
	if (hasty->event.ptr != event->ptr || ns - hasty->ns > HASTY_NS ||
	    hasty->event.tid == event->tid ||
	    event_is_alloc(&hasty->event) == event_is_alloc(event))
		return false;
	*found = hasty->event;
	hasty->event.ptr = 0;
	return true;
}

/* By an event of that time and CPU. */
static void end_live(struct model *model, struct reader *reader, const struct event *event,
		     struct live *live)
{
	struct site *site = &model->site[live->site];
	double weight, bytes;
	unsigned life;
	uint64_t age;

	note_peak_share(site, model->peak_number);
	weight = weight_of(model, live->req, live->bytes);
	bytes = weight * (double)live->bytes;
	age = recording_ns(reader, event->when) - recording_ns(reader, live_when(live));
	for (int i = 0; i < 2; i++) {
		struct tally *sum = i ? &site->sum : &model->sum;

		sum->frees += weight;
		sum->freed += bytes;
		sum->lifetime_ns += weight * (double)age;
		if (age < MODEL_SHORT_NS)
			sum->short_lived += weight;
		if (event->cpu != live->cpu)
			sum->cross_cpu += weight;
		add_live(sum, -weight, -bytes);
	}
	life = logarithm(age, MODEL_LIVES);
	model->by_lifetime[life > model->least_life ? life : model->least_life] += weight;
	live_remove(&model->live, live);
}

static void take_free(struct model *model, struct reader *reader, const struct event *event,
		      uint64_t ns)
{
	struct live *live = model->live.room ? live_find(&model->live, event->ptr) : NULL;
	struct event alloc;

	if (live && live->ptr) {
		/* if it is that of the object before, that was taken with the allocation */
		if (!take_hasty(model, event, ns, &alloc))
			end_live(model, reader, event, live);
		return;
	}
	/* of a sampled recording too: an object that was sampled before it began */
	model->unknown_frees++;
	note_hasty(model, event, ns);
}

static bool is_wanted(const struct model_filter *filter, const struct event *event, uint64_t ns)
{
	if (!filter)
		return true;
	return ns >= filter->from_ns && (!filter->to_ns || ns < filter->to_ns) &&
	       event->req >= filter->min_bytes &&
	       (!filter->max_bytes || event->req <= filter->max_bytes) &&
	       (!filter->tid || event->tid == filter->tid);
}

/* Does it leave any out? */
static bool is_filter(const struct model_filter *filter)
{
	return filter && (filter->from_ns || filter->to_ns || filter->min_bytes ||
			  filter->max_bytes || filter->tid);
}

/* It was freed by an event before this one. */
static void take_early_free(struct model *model, struct reader *reader, const struct event *event,
			    uint64_t ns)
{
	struct event early;

	if (!take_hasty(model, event, ns, &early))
		return;
	model->unknown_frees--;
	early.when = event->when;
	end_live(model, reader, &early, live_find(&model->live, event->ptr));
}

static void take_alloc(struct model *model, struct reader *reader, const struct event *event,
		       uint64_t ns)
{
	uint64_t size = model_alloc_bytes(reader, event);
	double weight = weight_of(model, event->req, size), bytes = weight * (double)size;
	uint32_t number = site_number(model, event);
	struct site *site = &model->site[number];
	struct live *live;

	live_reserve(&model->live);
	live = live_find(&model->live, event->ptr);
	if (live->ptr) {
		/* its free was lost, or comes yet */
		end_live(model, reader, event, live);
		note_hasty(model, event, ns);
		live = live_find(&model->live, event->ptr);
	}
	note_peak_share(site, model->peak_number);
	*live = (struct live){
		.ptr = event->ptr & TRACE_ADDRESS_MASK,
		.req = event->req & TRACE_REQ_MASK,
		.bytes = size & TRACE_REQ_MASK,
		.site = number,
		.tid = event->tid & LIVE_TID_MASK,
		.when = event->when >> LIVE_TICKS_SHIFT & LIVE_WHEN_MASK,
		.cpu = event->cpu & LIVE_CPU_MASK,
	};
	model->live.nr++;
	for (int i = 0; i < 2; i++) {
		struct tally *sum = i ? &site->sum : &model->sum;

		sum->allocs += weight;
		sum->req += weight * (double)event->req;
		sum->alloc += bytes;
		sum->events++;
		add_live(sum, weight, bytes);
		if (sum->live_bytes > sum->max_bytes) {
			sum->max_bytes = sum->live_bytes;
			sum->max_objects = sum->live_objects;
		}
	}
	model->by_size[logarithm(event->req, MODEL_SIZES)] += weight;
	model->by_size_bytes[logarithm(event->req, MODEL_SIZES)] += bytes;
	if (model->sum.live_bytes > model->sum.peak_bytes) {
		model->sum.peak_bytes = model->sum.live_bytes;
		model->sum.peak_objects = model->sum.live_objects;
		model->peak_ns = ns;
		model->peak_number++;
	}
	take_early_free(model, reader, event, ns);
}

/* Another program took the process' place: all that was live is gone with the one before. */
static void forget_live(struct model *model)
{
	live_clear(&model->live);
	for (size_t i = 0; i < model->nr_sites; i++) {
		struct site *site = &model->site[i];

		note_peak_share(site, model->peak_number);
		add_live(&site->sum, -site->sum.live_objects, -site->sum.live_bytes);
	}
	add_live(&model->sum, -model->sum.live_objects, -model->sum.live_bytes);
}

/* What comes and goes by fractions does not come back to 0 by itself; one sample is at least an object. */
static void settle(struct tally *sum)
{
	if (fabs(sum->live_objects) < 0.5)
		sum->live_objects = sum->live_bytes = 0;
	if (fabs(sum->peak_objects) < 0.5)
		sum->peak_objects = sum->peak_bytes = 0;
}

static void add_ages(struct model *model, const struct reader *reader)
{
	for (size_t i = 0; i < model->live.room; i++) {
		const struct live *live = &model->live.entry[i];
		double age;

		if (!live->ptr)
			continue;
		age = (double)(model->end_ns - recording_ns(reader, live_when(live)));
		age *= weight_of(model, live->req, live->bytes);
		model->sum.live_ns += age;
		model->site[live->site].sum.live_ns += age;
	}
}

static void finish(struct model *model, const struct reader *reader)
{
	settle(&model->sum);
	for (size_t i = 0; i < model->nr_sites; i++) {
		note_peak_share(&model->site[i], model->peak_number);
		settle(&model->site[i].sum);
	}
	model->end_ns = recording_ns(reader, recording_end(reader));
	model->point_ns = 0;
	note_point(model, model->end_ns);
	add_ages(model, reader);
}

/* Bytes from sample to sample; 0: it is not sampled. */
static double mean_of(const struct reader *reader)
{
	const char *text = recording_info(reader, "sample_bytes");
	double mean = text ? strtod(text, NULL) : 0;

	return mean > 0 && mean < MEAN_MAX ? mean : 0;
}

bool model_is_sampled(const struct reader *reader)
{
	return mean_of(reader) > 0;
}

void model_play(struct model *model, struct reader *reader, const struct model_filter *filter)
{
	struct progress progress;
	struct event event;
	unsigned image = 0;

	*model = (struct model){ .points_every = FIRST_DISTANCE_NS, .peak_number = 1 };
	model->by_stack = filter && filter->by_stack;
	model->filtered = is_filter(filter);
	model->mean = mean_of(reader);
	model->sampled = model->mean > 0;
	model->by_req = !recording_info(reader, "sampled_by");
	/* what ends a power of two above what time stamps tell apart */
	model->least_life = logarithm(recording_resolution_ns(reader) - 1, MODEL_LIVES);
	progress_start(&progress, "reading");
	while (recording_next(reader, &event)) {
		uint64_t ns = recording_ns(reader, event.when);
		const struct event *ahead = recording_ahead(reader);

		if (ahead)
			live_prefetch(&model->live, ahead->ptr);
		if (recording_image(reader) != image)
			forget_live(model);
		image = recording_image(reader);
		if (event_is_alloc(&event)) {
			if (event.ptr && is_wanted(filter, &event, ns))
				take_alloc(model, reader, &event, ns);
		} else if (event_is_free(&event)) {
			take_free(model, reader, &event, ns);
		}
		note_point(model, ns);
		if (!(++model->nr_events & 0xfffff))
			progress_show(&progress, recording_progress(reader));
	}
	progress_end(&progress);
	finish(model, reader);
}

void model_free(struct model *model)
{
	free(model->site);
	live_free(&model->live);
	free(model->site_hash);
}
