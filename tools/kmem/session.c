/* SPDX-License-Identifier: MIT */
/*
 * session.c - take what a process does into a recording, from when it was told to trace to the end.
 *
 * The rings are emptied in a loop, as often as they need (rings.c). The maps and the names of caches are read again now and then, and
 * when the program says that it ends; the maps also when it asks for that (src/trace/look.c), and a little after it loads a module. Where call stacks are wanted they are put to their events (depot.c).
 *
 * A program that ends, or finds its rings full, waits for this one, and rings its bell (bell.c). The end of one that was
 * started here is told by SIGCHLD, which ends any sleep as well. That is not for certain, so sleeps are short.
 *
 * How fast the time stamp counter runs is known the better the longer it was looked at: so CHUNK_INFO is written when the process is
 * there, as a recording that is cut needs it, and once more, for good, when the first events go to the file: after two seconds, or at
 * the end of what is shorter.
 *
 * It ends when the process does; when the user says so, or an option; when another kmem has taken the process over; or when
 * the process itself has ended the tracing, because it heard nothing of this one.
 */
#include "session.h"

#include "images.h"
#include "maps.h"
#include "remote.h"
#include "say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define CALIBRATE_US 500 /* at least: good to one part in 10,000 */
#define READINGS 5
#define LOADING_MS 100 /* that a module takes to come */
#define BUSY_US 1000
#define IDLE_US 5000
#define IDLE_SAMPLES_US 20000 /* of a program that rings the bell before it waits */
#define MAPS_MS 2000
#define CACHE_READS 1000  /* from one look around to the next; a damaged process may name any ids */
#define LAST_BYTES 65536U /* that need not be packed to see how much they are */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t session_now_ms(void)
{
	return now_ns() / 1000000;
}

/* The clock and the time stamp counter at one moment: of several readings that in which nothing came in between. */
static uint64_t read_both(uint64_t *ns)
{
	uint64_t best = UINT64_MAX, ticks = 0;

	*ns = 0;
	for (int i = 0; i < READINGS; i++) {
		uint64_t before = __rdtsc(), now = now_ns(), gap = __rdtsc() - before;

		if (gap < best) {
			best = gap;
			ticks = before + gap / 2;
			*ns = now;
		}
	}
	return ticks;
}

static void calibrate(struct session *session)
{
	uint64_t ns, ticks = read_both(&ns);

	if (ns - session->start_ns < CALIBRATE_US * 1000) {
		usleep(CALIBRATE_US);
		ticks = read_both(&ns);
	}
	session->ns_per_tick = (double)(ns - session->start_ns) / (double)(ticks - session->start);
}

static void write_maps_of(struct session *session, uint64_t when, const char *maps)
{
	size_t size = sizeof(when) + strlen(maps) + 1;
	char *chunk = xmalloc(size);

	memcpy(chunk, &when, sizeof(when));
	memcpy(chunk + sizeof(when), maps, size - sizeof(when));
	recording_chunk(session->writer, CHUNK_MAPS, chunk, size);
	free(chunk);
}

/* These are others than those before. */
static void take_maps(struct session *session, uint64_t when, char *maps)
{
	/* until when it was as before: what was there at both times was there in between */
	if (session->maps && session->maps_seen)
		write_maps_of(session, session->maps_seen, session->maps);
	if (session->unlooked != session->target.state.unlooked)
		write_maps_of(session, when, "");
	write_maps_of(session, when, maps);
	if (session->maps)
		TARGET_WRITE_FIELD(&session->target, maps, session->target.state.maps + 1);
	if (session->options->held_in)
		images_keep(session->target.pid, maps);
	free(session->maps);
	session->maps = maps;
	session->maps_seen = 0;
}

/* Look which modules there are, and take that down if it is news. */
static void see_maps(struct session *session)
{
	uint64_t when = __rdtsc(), magic;
	char *maps = maps_read(session->target.pid, true);

	/* the memory is that of the program that was opened: if it can be read, it was that one's maps */
	if (!maps || !*maps ||
	    target_read(&session->target, session->target.control, &magic, sizeof(magic)) != 0) {
		free(maps);
	} else if (session->maps && session->unlooked == session->target.state.unlooked &&
		   !strcmp(maps, session->maps)) {
		session->maps_seen = when;
		free(maps);
	} else {
		take_maps(session, when, maps);
	}
}

/* The control block is as it was before: what the program has asked for by then is seen. */
static void write_maps(struct session *session)
{
	const struct trace_control *state = &session->target.state;

	see_maps(session);
	session->unlooked = state->unlooked;
	if (session->looked != state->want_look)
		TARGET_WRITE_FIELD(&session->target, looked, state->want_look);
	session->looked = state->want_look;
}

struct caches_text {
	struct session *session;
	FILE *out;
};

static bool print_cache(const struct kmem_cache *cache, uint64_t address, void *arg)
{
	struct caches_text *text = arg;

	(void)address;
	if (!cache->id || !cache->size)
		return true;
	fprintf(text->out, "%u %u %u %s\n", cache->id, cache->size, cache->object_size,
		cache->name);
	/* the id of one that is gone may become another's */
	if (cache->state == KMEM_CACHE_LIVE)
		text->session->known_caches[cache->id / 64] |= 1UL << cache->id % 64;
	return true;
}

static void write_caches(struct session *session)
{
	char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);
	int err;

	if (!memory)
		return;
	err = remote_caches(&session->target, print_cache,
			    &(struct caches_text){ session, memory });
	fclose(memory);
	if (err || (session->caches && !strcmp(text, session->caches))) {
		free(text);
		return;
	}
	free(session->caches);
	session->caches = text;
	recording_chunk(session->writer, CHUNK_CACHES, text, size + 1);
}

/* The caches of now, whatever was known. */
static void look_at_caches(struct session *session)
{
	memset(session->known_caches, 0, sizeof(session->known_caches));
	recording_forget(session->writer);
	session->cache_reads = 0;
	write_caches(session);
}

/* A cache that was not seen yet: its size and name must be in the file before this event is. */
static __attribute__((noinline)) void meet_cache(struct session *session, unsigned id)
{
	/* whether it is told of or not: not again for each event */
	session->known_caches[id / 64] |= 1UL << id % 64;
	if (session->cache_reads++ < CACHE_READS)
		write_caches(session);
}

static inline bool cache_is_known(const struct session *session, unsigned id)
{
	return session->known_caches[id / 64] >> id % 64 & 1;
}

#define COMMAND_MAX 4096

/* On one line, and one that is no other in INFO. */
static void write_byte(FILE *out, int byte)
{
	fputc(byte < ' ' || byte == 0x7f ? '?' : byte, out);
}

/* The command line of a process that runs already, on one line; where it can't be read, -p PID. */
static void write_command_of(FILE *out, pid_t pid)
{
	char path[64];
	FILE *file;
	int byte, last = 0, some = 0;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	file = fopen(path, "re");
	/* words end with a zero byte; some processes pad theirs with more */
	for (size_t i = 0; file && i < COMMAND_MAX && (byte = fgetc(file)) != EOF; i++) {
		if (byte && !last)
			fputc(' ', out);
		if (byte)
			write_byte(out, byte);
		some |= byte;
		last = byte;
	}
	if (!some)
		fprintf(out, " -p %d", pid);
	if (file)
		fclose(file);
}

/* All of CHUNK_INFO but the counter's speed: of the process as it is now. */
static void describe(struct session *session)
{
	const struct record_options *options = session->options;
	char host[256] = "";
	size_t size;
	FILE *memory = open_memstream(&session->info, &size);

	if (!memory)
		give_up("no memory");
	gethostname(host, sizeof(host) - 1);
	fprintf(memory, "pid %d\nhost %s\ntime %ld\nstart %lu\n", session->target.pid, host,
		(long)session->start_time, session->start);
	if (options->mode == TRACE_SAMPLE)
		fprintf(memory, "sample_bytes %lu\nsampled_by bytes_alloc\n",
			options->sample_bytes);
	fprintf(memory, "command");
	for (char **word = options->program; word && *word; word++) {
		fputc(' ', memory);
		for (const char *at = *word; *at; at++)
			write_byte(memory, (unsigned char)*at);
	}
	if (!options->program)
		write_command_of(memory, options->pid);
	fputc('\n', memory);
	fclose(memory);
}

static void write_info(struct session *session)
{
	char *text;
	int length;

	if (!session->info)
		describe(session);
	calibrate(session);
	length = asprintf(&text, "%sns_per_tick %.12f\n", session->info, session->ns_per_tick);
	if (length < 0)
		give_up("no memory");
	recording_chunk(session->writer, CHUNK_INFO, text, (size_t)length + 1);
	free(text);
}

/* For good: readers take the last one that stands before all events. */
static void settle_info(void *arg)
{
	struct session *session = arg;

	if (!session->timed)
		write_info(session);
	session->timed = true;
}

void session_start(struct session *session)
{
	session->start_time = time(NULL);
	session->start = read_both(&session->start_ns);
	recording_before_events(session->writer, settle_info, session);
}

/* The process is there. */
static void inform(struct session *session)
{
	if (session->info)
		return;
	write_info(session);
	recording_coarsen(session->writer,
			  (uint64_t)((double)session->options->clock_ns / session->ns_per_tick));
}

void session_wait(struct session *session, unsigned us)
{
	if (*session->child_changed)
		*session->child_changed = 0;
	else
		session->rung = bell_wait(&session->bell, us, session->is_deaf);
}

/* What the recording wants to know of an event. */
static enum meeting meet(const struct raw_event *raw, struct event *event, void *arg)
{
	struct session *session = arg;

	if (!rings_decode(session->rings, raw, event))
		return MEET_NONE;
	if (event->cache && !cache_is_known(session, event->cache))
		meet_cache(session, event->cache);
	if (event->stack && !depot_resolve(session->depot, event))
		return MEET_ONCE;
	return MEET_LIKE;
}

/*
 * The file is as large as it may be. What waits may be enough for that: it is written then, as nobody knows how much that will be
 * before it is packed.
 */
static bool is_full(const struct session *session)
{
	uint64_t max = session->options->max_bytes;
	uint64_t waiting = max ? recording_waiting(session->writer) : 0;

	if (waiting >= LAST_BYTES && recording_bytes(session->writer) + waiting > max)
		recording_flush(session->writer);
	return max && recording_bytes(session->writer) > max;
}

static void take(const struct raw_event *events, size_t n, void *arg)
{
	struct session *session = arg;

	if (!is_full(session))
		recording_add_raw(session->writer, events, n, meet, session);
}

static void note_lost(struct session *session)
{
	uint64_t lost = session->lost_earlier + rings_lost(session->rings);

	if (lost != session->lost)
		recording_chunk(session->writer, CHUNK_LOST, &lost, sizeof(lost));
	session->lost = lost;
}

/* Does the program want the maps to be read? Or has it begun to load a module, and had the time to? */
static bool is_look_due(struct session *session, uint64_t now)
{
	const struct trace_control *state = &session->target.state;
	bool is_time = session->look_at && now >= session->look_at;

	if (is_time)
		session->look_at = 0;
	if (session->loading != state->loading && !session->look_at)
		session->look_at = now + LOADING_MS;
	session->loading = state->loading;
	return is_time || state->want_look != session->looked;
}

static void look_around(struct session *session)
{
	uint64_t now = session_now_ms();

	if (session->target.state.ending && !session->target.state.seen_ending) {
		write_maps(session);
		look_at_caches(session);
		TARGET_WRITE_FIELD(&session->target, seen_ending, 1);
	} else if (now - session->maps_at > MAPS_MS) {
		session->maps_at = now;
		settle_info(session);
		write_maps(session);
		look_at_caches(session);
		recording_flush(session->writer);
		note_lost(session);
	} else if (is_look_due(session, now)) {
		write_maps(session);
	}
}

/* Does it still do what it was told? */
static bool is_ours(const struct session *session)
{
	const struct trace_control *state = &session->target.state;

	if (state->generation != session->generation) {
		say("process %d: another kmem records it now", session->target.pid);
		return false;
	}
	if (state->applied == session->generation && state->mode == TRACE_OFF) {
		say("process %d ended the tracing: nobody emptied its rings for %u s, or gave a sign of life for %u s",
		    session->target.pid, TRACE_GIVE_UP_MS / 1000, TRACE_SILENT_MS / 1000);
		return false;
	}
	return true;
}

/*
 * How long to sleep after a pass that took so many events: longer and longer where they are few beside what a ring holds, as each
 * pass takes a CPU from somebody. 0: as much may have come meanwhile again, and the program is about to wait.
 */
static unsigned next_sleep(const struct session *session, unsigned us, uint64_t taken)
{
	const struct record_options *options = session->options;
	uint64_t room = session->target.state.ring_events;
	unsigned longest = options->program && options->mode == TRACE_SAMPLE ? IDLE_SAMPLES_US :
									       IDLE_US;

	if (taken >= room / 4 && taken)
		return 0;
	if (taken > room / 32)
		us /= 2;
	else if (taken <= room / 128)
		us *= 2;
	return us < BUSY_US ? BUSY_US : us > longest ? longest : us;
}

enum outcome session_collect(struct session *session)
{
	const struct record_options *options = session->options;
	uint64_t end = options->seconds > 0 ?
			       session_now_ms() + (uint64_t)(options->seconds * 1000) :
			       UINT64_MAX;
	unsigned us = BUSY_US;

	while (!*session->interrupted || options->program) {
		uint32_t looked = session->looked;
		long taken;

		/* before the rings, too: should the process go in this moment, little is missing */
		if (session->depot)
			depot_collect(session->depot);
		taken = rings_collect(session->rings, false, take, session);

		if (taken < 0)
			return rings_are_damaged(session->rings) ? TAKEN : GONE;
		if (!is_ours(session))
			return TAKEN;
		if (!options->program)
			target_divert_again(&session->target);
		look_around(session);
		if (session_now_ms() >= end || recording_error(session->writer) || is_full(session))
			return STOPPED;
		us = next_sleep(session, us, (uint64_t)taken);
		/* rung for nothing, by whoever has the library's file: not the next time */
		session->is_deaf = session->rung && !taken && !session->target.state.ending &&
				   session->looked == looked;
		if (us)
			session_wait(session, us);
	}
	return STOPPED;
}

void session_switch_off(struct session *session)
{
	struct target_wish off = { .mode = TRACE_OFF };

	target_pause(&session->target);
	usleep(IDLE_US);
	rings_collect(session->rings, true, take, session);
	target_trace(&session->target, &off);
}

static void collect_stacks(void *depot)
{
	depot_collect(depot);
}

void session_begin(struct session *session)
{
	bool from_start = session->options->program != NULL;

	session->attached = true;
	bell_open(&session->bell, &session->target);
	inform(session);
	session->rings = rings_open(&session->target, from_start);
	session->generation = session->target.state.generation;
	if (session->options->stacks) {
		session->depot = depot_open(&session->target, session->writer, from_start);
		rings_after_read(session->rings, collect_stacks, session->depot);
	}
	session->loading = session->target.state.loading;
	session->unlooked = from_start ? 0 : session->target.state.unlooked;
	write_maps(session);
	look_at_caches(session);
	session->maps_at = session_now_ms();
}

void session_end(struct session *session, enum outcome outcome)
{
	if (outcome == GONE && !session->target.state.ending)
		session->tail_missing = true;
	note_lost(session);
	session->lost_earlier = session->lost;
	session->end = __rdtsc();
	/* what comes next may take long: all that is known is in the file by then */
	recording_flush(session->writer);
	bell_close(&session->bell);
	/* what comes next is another program, whether it has the same modules or not */
	free(session->maps);
	session->maps = NULL;
	session->maps_seen = session->look_at = 0;
	rings_close(session->rings);
	session->rings = NULL;
	session->no_depot |= session->depot && !session->target.state.depot &&
			     recording_events(session->writer) > 0;
	session->stacks_lost += depot_lost(session->depot);
	session->stacks_missing += depot_missing(session->depot);
	depot_close(session->depot);
	session->depot = NULL;
	target_close(&session->target);
}

static void say_what_came(const struct session *session)
{
	uint64_t lost = session->lost;

	fprintf(stderr, "kmem: %lu events, %.1f MB, in %s\n", recording_events(session->writer),
		(double)recording_bytes(session->writer) / 1e6, session->options->output);
	if (lost)
		say("%lu events were lost: the rings were full (--ring makes them larger, --full=wait "
		    "lets the program wait)",
		    lost);
	if (session->tail_missing)
		say("the program was killed, called _exit() or replaced itself: its last milliseconds before are not recorded");
	if (session->stacks_lost)
		say("%lu allocations have no call stack but their call site: the program has too many different ones "
		    "(--sample takes fewer)",
		    session->stacks_lost);
	if (session->stacks_missing)
		say("%lu allocations have no call stack: the program was gone, or another one, before that could be read",
		    session->stacks_missing);
	if (session->no_depot)
		say("the program had no memory for call stacks: there are call sites alone");
	if (!session->attached)
		say("nothing was recorded: the program did not run the library (static and setuid programs "
		    "ignore LD_PRELOAD), or called _exit() at once");
}

void session_finish(struct session *session)
{
	uint64_t words[2] = { session->end ? session->end : __rdtsc(), session->tail_missing };

	recording_flush(session->writer);
	settle_info(session);
	recording_chunk(session->writer, CHUNK_END, words, sizeof(words));
	if (!session->options->held_in)
		say_what_came(session);
	else if (recording_error(session->writer))
		say("the events could not be held in %s: %s; what came after that is not counted (--sample takes "
		    "fewer, TMPDIR chooses another folder)",
		    session->options->held_in, strerror(recording_error(session->writer)));
	recording_close(session->writer);
	free(session->info);
	free(session->maps);
	free(session->caches);
}
